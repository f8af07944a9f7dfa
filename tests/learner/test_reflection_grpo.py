"""Reflection-GRPO on problems small enough to be solved exactly: gradients, importance weights, whole updates."""

import itertools
import math
from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from actors.flow_sde import sde_log_prob
from learner.flow_loss import flow_loss
from learner.vlm_loss import token_log_probs, vlm_loss
from tests.learner.families.small_policies import (
    ETA,
    SIGMAS,
    EngineWithNoise,
    FlowPolicy,
    TokenPolicy,
    advantages_of,
    answer_mask,
    answer_rewards,
    expected_answer_reward,
    flow_rewards,
    sample_flow,
    seeded,
)

UNBOUNDED = 1e9
CLIP = {"clip_low": 0.2, "clip_high": 0.28}
STEPS = list(enumerate(itertools.pairwise(SIGMAS[:-1])))


def finite_differences(parameters: Iterable[nn.Parameter], value: Callable[[], Tensor], step: float = 1e-5) -> Tensor:
    """Central differences of `value` by each parameter, flat."""
    slopes = []
    with torch.no_grad():
        for flat in (parameter.view(-1) for parameter in parameters):
            for index in range(len(flat)):
                kept, ends = flat[index].item(), []
                for sign in (1, -1):
                    flat[index] = kept + sign * step
                    ends.append(value().item())
                flat[index] = kept
                slopes.append((ends[0] - ends[1]) / (2 * step))
    return torch.tensor(slopes, dtype=torch.float64)


def gradient(policy: nn.Module, loss: Tensor) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(policy.parameters()))])


def test_the_token_losss_gradient_is_that_of_reinforce():
    policy = TokenPolicy(seed=1)
    tokens = policy.sample(16, seeded(0))
    mask, advantages = answer_mask(tokens), advantages_of(answer_rewards(tokens), 8)

    def reinforce() -> Tensor:
        log_probs = policy(tokens).log_softmax(-1)
        terms = [advantages[row] * log_probs[row, place, tokens[row, place]] for row, place in mask.nonzero().tolist()]
        return -sum(terms) / len(terms)

    log_probs = token_log_probs(policy(tokens), tokens)
    old = log_probs.detach()
    loss, sums = vlm_loss(log_probs, old, old, advantages, mask, **CLIP, importance_cap=2.0)
    assert 0 < sums["count"] < tokens.numel()
    found, expected = gradient(policy, loss), finite_differences(policy.parameters(), reinforce)
    assert expected.abs().max() > 1e-2
    torch.testing.assert_close(found, expected, atol=1e-8, rtol=1e-6)


def test_the_flow_losss_gradient_is_that_of_reinforce():
    policy = FlowPolicy(seed=1)
    nn.init.normal_(policy.network[-1].weight, std=0.3, generator=seeded(3))
    latents, _ = sample_flow(policy, 16, seed=0)
    advantages = advantages_of(flow_rewards(latents[-1]), 8)

    def reinforce() -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for k, (sigma, sigma_next) in STEPS:
            dt = sigma_next - sigma
            s = ETA * math.sqrt(sigma / (1 - min(sigma, SIGMAS[1])))
            mean = latents[k] * (1 + s**2 / (2 * sigma) * dt)
            mean = mean + policy(latents[k], sigma) * (1 + s**2 * (1 - sigma) / (2 * sigma)) * dt
            density = torch.distributions.Normal(mean, s * math.sqrt(-dt)).log_prob(latents[k + 1])
            total += (advantages * density.mean((1, 2))).sum()
        return -total / (16 * len(STEPS))

    loss = torch.zeros((), dtype=torch.float64)
    for k, step in STEPS:
        log_probs = sde_log_prob(latents[k], policy(latents[k], step[0]), *step, ETA, latents[k + 1])
        old, count = log_probs.detach(), 16 * len(STEPS)
        loss = loss + flow_loss(log_probs, old, old, advantages, **CLIP, importance_cap=2.0, normaliser=count)[0]
    found, expected = gradient(policy, loss), finite_differences(policy.parameters(), reinforce)
    assert expected.abs().max() > 1e-2
    torch.testing.assert_close(found, expected, atol=1e-8, rtol=1e-6)


ENGINE = torch.tensor([0.1, 0.4, 0.3, 0.2], dtype=torch.float64)  # what the rollout engine samples from
LEARNER = torch.tensor([0.3, 0.3, 0.1, 0.3], dtype=torch.float64)  # what the same weights mean to the learner
ADVANTAGES = torch.tensor([1.0, -0.5, 2.0, -1.5], dtype=torch.float64)


def expected_token_loss(logits: Tensor, behaviour: Tensor, rollout: Tensor, cap: float) -> Tensor:
    """The loss of one-token answers in expectation over ENGINE: it is linear in the advantage's size, so each answer
    enters once, with its probability in its advantage."""
    tokens = torch.arange(4).unsqueeze(1)
    log_probs = token_log_probs(logits.expand(4, 1, 4), tokens)
    columns = (log_probs, behaviour.log().unsqueeze(1), rollout.log().unsqueeze(1))
    mask = torch.ones(4, 1, dtype=torch.bool)
    return vlm_loss(*columns, ENGINE * ADVANTAGES, mask, **CLIP, importance_cap=cap, normaliser=1.0)[0]


def test_importance_weights_make_the_engines_answers_count_as_the_learners():
    logits = LEARNER.log().requires_grad_()
    (on_policy,) = torch.autograd.grad(-(logits.softmax(-1) * ADVANTAGES).sum(), logits)
    for cap in (3.0, UNBOUNDED):  # the largest weight is 0.3 / 0.1
        (found,) = torch.autograd.grad(expected_token_loss(logits, LEARNER, ENGINE, cap), logits)
        torch.testing.assert_close(found, on_policy, atol=1e-12, rtol=0)
    (uncorrected,) = torch.autograd.grad(expected_token_loss(logits, LEARNER, LEARNER, UNBOUNDED), logits)
    assert (uncorrected - on_policy).norm() > 0.5 * on_policy.norm()


def test_importance_weight_and_ratio_together_are_exact_within_the_clip():
    logits = (LEARNER.log() + torch.tensor([0.1, -0.1, 0.05, -0.05])).requires_grad_()
    loss = expected_token_loss(logits, LEARNER, ENGINE, UNBOUNDED)
    on_policy = -(logits.softmax(-1) * ADVANTAGES).sum()
    assert loss.item() == pytest.approx(on_policy.item(), rel=1e-12)
    found, expected = (torch.autograd.grad(value, logits)[0] for value in (loss, on_policy))
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("cap", [1.0, 1.2, 2.0])
def test_a_cap_that_binds_takes_away_from_the_answers_that_the_engine_rarely_gives(cap):
    logits = LEARNER.log().requires_grad_()
    loss = expected_token_loss(logits, LEARNER, ENGINE, cap)
    lost = (LEARNER - cap * ENGINE).clamp(min=0)
    assert lost[0] > 0
    assert loss.item() == pytest.approx(-((LEARNER - lost) * ADVANTAGES).sum().item(), rel=1e-12)
    (found,) = torch.autograd.grad(loss, logits)
    # −Σ min(p, C·q)·A·∇log p, with ∂log p_a/∂logit_b = [a = b] − p_b
    weighted = (LEARNER - lost) * ADVANTAGES
    torch.testing.assert_close(found, -(weighted - LEARNER * weighted.sum()), atol=1e-12, rtol=0)


def expected_flow_gradient(mean: float, engine_mean: float, std: float, cap: float) -> float:
    """∂(expected objective)/∂mean of a step N(mean, std²) that an engine took as N(engine_mean, std²), in one dimension
    and with the advantage −x², by quadrature."""
    x = torch.linspace(-12, 12, 4801, dtype=torch.float64)
    engine = torch.distributions.Normal(torch.tensor(engine_mean).double(), std).log_prob(x)
    parameter = torch.tensor(mean, dtype=torch.float64, requires_grad=True)
    log_probs = torch.distributions.Normal(parameter, std).log_prob(x)
    weighted = -(x**2) * engine.exp() * (x[1] - x[0])
    loss, _ = flow_loss(log_probs, log_probs.detach(), engine, weighted, **CLIP, importance_cap=cap, normaliser=1.0)
    return -torch.autograd.grad(loss, parameter)[0].item()


def test_importance_weights_correct_a_step_that_another_engine_took():
    exact = -2 * 1.0  # E[−x²] = −mean² − std², at mean 1
    assert expected_flow_gradient(1.0, 1.0, 0.8, UNBOUNDED) == pytest.approx(exact, abs=1e-6)
    assert expected_flow_gradient(1.0, 1.3, 0.8, UNBOUNDED) == pytest.approx(exact, abs=1e-6)
    # The cap takes away where the engine went too rarely, at small x. There −x²·∂log p/∂mean is positive, so what is
    # left is too negative, the more so the lower the cap.
    gradients = [expected_flow_gradient(1.0, 1.3, 0.8, cap) for cap in (1.0, 1.5, 3.0)]
    assert gradients[0] < gradients[1] < gradients[2] < exact - 1e-4


def test_a_mean_over_dimensions_takes_the_root_of_the_weight():
    x = torch.randn(5, 1, 2, generator=seeded(0), dtype=torch.float64)
    here, there = (torch.distributions.Normal(mean, 0.7).log_prob(x) for mean in (0.0, 0.2))
    for name in ("mean", "sum"):
        logs = [getattr(log, name)((1, 2)) for log in (here, there)]
        _, sums = flow_loss(logs[0], logs[0], logs[1], torch.ones(5).double(), **CLIP, importance_cap=UNBOUNDED)
        power = 0.5 if name == "mean" else 1.0
        expected = (here - there).sum((1, 2)).exp() ** power
        assert sums["importance"] == pytest.approx(expected.sum().item(), rel=1e-12)


def train_tokens(policy: TokenPolicy, engine: TokenPolicy, updates: int, seed: int) -> list[float]:
    """Updates of two epochs over eight groups of eight; the exact expected reward before and after each."""
    optimizer, generator = torch.optim.AdamW(policy.parameters(), lr=0.03, weight_decay=0.0), seeded(seed)
    rewards = [expected_answer_reward(policy)]
    for _ in range(updates):
        tokens = engine.sample(64, generator)
        mask, advantages = answer_mask(tokens), advantages_of(answer_rewards(tokens), 8)
        with torch.no_grad():
            rollout, behaviour = (token_log_probs(model(tokens), tokens) for model in (engine, policy))
        for _ in range(2):
            log_probs = token_log_probs(policy(tokens), tokens)
            loss, _ = vlm_loss(log_probs, behaviour, rollout, advantages, mask, **CLIP, importance_cap=2.0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        rewards.append(expected_answer_reward(policy))
    return rewards


@pytest.mark.parametrize(("seed", "engine_noise"), [(0, 0.0), (1, 0.0), (2, 0.0), (0, 0.4)])
def test_updates_lead_the_token_policy_to_the_optimum(seed, engine_noise):
    policy = TokenPolicy(seed)
    rewards = train_tokens(policy, EngineWithNoise(policy, engine_noise), updates=40, seed=seed)
    assert rewards[0] < 0.5
    assert rewards[-1] > 0.98
    steps = np.diff(rewards)
    assert steps.min() > -0.02
    assert (steps > 0).mean() > 0.8


def train_flow(policy: FlowPolicy, updates: int, seed: int) -> None:
    """Updates of two epochs over eight groups of sixteen."""
    optimizer = torch.optim.AdamW(policy.parameters(), lr=3e-3, weight_decay=0.0)
    for update in range(updates):
        latents, behaviour = sample_flow(policy, 128, 1000 * seed + update)
        advantages = advantages_of(flow_rewards(latents[-1]), 16)
        count = behaviour.numel()
        for _ in range(2):
            optimizer.zero_grad()
            for k, step in STEPS:
                log_probs = sde_log_prob(latents[k], policy(latents[k], step[0]), *step, ETA, latents[k + 1])
                columns = (log_probs, behaviour[k], behaviour[k], advantages)
                flow_loss(*columns, clip_low=0.05, clip_high=0.05, importance_cap=2.0, normaliser=count)[0].backward()
            optimizer.step()


@pytest.mark.parametrize("seed", range(3))
def test_updates_raise_the_flow_policys_expected_reward(seed):
    policy, draws = FlowPolicy(seed), 2000
    before = flow_rewards(sample_flow(policy, draws, 77)[0][-1])
    train_flow(policy, updates=40, seed=seed)
    after = flow_rewards(sample_flow(policy, draws, 78)[0][-1])
    error = math.sqrt((before.var().item() + after.var().item()) / draws)
    gain = (after.mean() - before.mean()).item()
    assert gain > 10 * error
    assert after.mean() > 0.2 * before.mean()  # most of the way from the start to the optimum, 0
