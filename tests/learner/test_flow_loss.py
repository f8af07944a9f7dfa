import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from actors.flow_sde import sde_log_prob, sde_mean_std, sde_step
from learner.flow_loss import Guard, flow_loss, gaussian_divergence
from tests.learner.clipped_term import clipped_term

SETTINGS = {"clip_low": 1e-2, "clip_high": 2e-2, "importance_cap": 1.01}


def random_steps(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def noise() -> torch.Tensor:
        return torch.randn(8, generator=generator, dtype=torch.float64)

    log_probs = noise()
    return {
        "log_probs": log_probs,
        "behaviour_log_probs": log_probs + 0.03 * noise(),
        "rollout_log_probs": log_probs + 0.03 * noise(),
        "advantages": noise(),
        "divergence": noise().abs(),
    }


def loss_term_by_term(steps: dict[str, torch.Tensor], kl_coefficient: float) -> tuple[float, list[float], set[str]]:
    """The loss, its derivative by each log-probability, and which branches of the formula were taken."""
    total, gradient, branches = 0.0, [], set()
    for new, old, sampler, advantage, divergence in zip(*(t.tolist() for t in steps.values()), strict=True):
        objective, slope, taken = clipped_term(new, old, sampler, advantage, **SETTINGS)
        branches |= taken
        total += -objective + kl_coefficient * divergence
        gradient.append(-slope / 8)
    return total / 8, gradient, branches


@pytest.mark.parametrize("kl_coefficient", [0.0, 0.04])
def test_loss_and_gradient_equal_the_formula_term_by_term(kl_coefficient):
    seen = set()
    for seed in range(5):
        steps = random_steps(seed)
        expected, gradient, branches = loss_term_by_term(steps, kl_coefficient)
        steps["log_probs"].requires_grad_()
        steps["divergence"].requires_grad_()
        loss, sums = flow_loss(**steps, **SETTINGS, kl_coefficient=kl_coefficient)
        loss.backward()
        assert loss.item() == pytest.approx(expected, rel=1e-12)
        np.testing.assert_allclose(steps["log_probs"].grad.numpy(), gradient, atol=1e-14)
        np.testing.assert_allclose(steps["divergence"].grad.numpy(), kl_coefficient / 8, atol=1e-14)
        assert sums["count"] == 8
        seen |= branches
    assert seen == {"capped", "clipped from above", "clipped from below", "free"}


@pytest.mark.parametrize(
    ("log_ratio", "advantage", "objective", "clipped"),
    [
        (0.03, 1.0, 1.02, True),
        (-0.03, 1.0, math.exp(-0.03), False),
        (0.03, -1.0, -math.exp(0.03), False),
        (-0.03, -1.0, -0.99, True),
    ],
)
def test_a_step_is_clipped_only_where_it_went_too_far_to_the_good_side(log_ratio, advantage, objective, clipped):
    log_probs = torch.tensor([0.5 + log_ratio], dtype=torch.float64, requires_grad=True)
    old = torch.tensor([0.5], dtype=torch.float64)
    loss, sums = flow_loss(log_probs, old, old, torch.tensor([advantage]).double(), **SETTINGS)
    loss.backward()
    assert loss.item() == pytest.approx(-objective, rel=1e-12)
    assert sums["clipped"] == clipped
    assert log_probs.grad.item() == pytest.approx(0.0 if clipped else -objective, rel=1e-12)


def test_gradient_on_policy_is_that_of_reinforce():
    steps = random_steps()
    log_probs = steps["log_probs"].requires_grad_()
    loss, _ = flow_loss(log_probs, log_probs.detach(), log_probs.detach(), steps["advantages"], **SETTINGS)
    loss.backward()
    torch.testing.assert_close(log_probs.grad, -steps["advantages"] / 8)


def test_divergence_equals_that_of_torchs_normal_distributions():
    mean, reference = torch.randn(2, 3, 64, 16, generator=torch.Generator().manual_seed(0)).double()
    std = torch.tensor([0.2, 0.5, 1.0]).double().reshape(3, 1, 1)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, std), normal(reference, std)).mean((1, 2))
    np.testing.assert_allclose(gaussian_divergence(mean, reference, std).numpy(), expected.numpy(), rtol=1e-12)
    assert (gaussian_divergence(mean, mean, std) == 0).all()


@given(st.floats(-3, 3), st.floats(0.01, 2))
def test_divergence_is_positive_away_from_the_reference_and_has_no_slope_there(shift, std):
    mean = torch.zeros(1, 2, 3, dtype=torch.float64, requires_grad=True)
    divergence = gaussian_divergence(mean, torch.full((1, 2, 3), shift, dtype=torch.float64), std)
    assert divergence.item() == pytest.approx(shift**2 / (2 * std**2), rel=1e-12)
    (gradient,) = torch.autograd.grad(divergence.sum(), mean)
    np.testing.assert_allclose(gradient.numpy(), -shift / std**2 / 6, rtol=1e-12, atol=1e-300)


def test_the_guarded_loss_is_that_of_the_paper_with_noise_and_means_alone():
    """GRPO-Guard written without log-probabilities: log ρ' = mean ε·(μ − μ_old), the loss over the step's length."""
    rng = np.random.default_rng(3)
    old, moved, noise = rng.normal(size=(3, 24, 4, 5)) * np.array([1, 0.2, 1])[:, None, None, None]
    std, length, advantages = rng.uniform(0.2, 1, 24), rng.uniform(0.05, 0.5, 24), rng.normal(size=24)
    reached = old + std[:, None, None] * noise  # the step that the sampler took
    mean = torch.tensor(old + moved, requires_grad=True)
    column = torch.tensor(std).reshape(-1, 1, 1)

    def log_prob(means: torch.Tensor) -> torch.Tensor:
        return torch.distributions.Normal(means, column).log_prob(torch.tensor(reached)).mean((1, 2))

    guard = Guard(gaussian_divergence(mean, torch.tensor(old), column), torch.tensor(std), torch.tensor(length))
    before = log_prob(torch.tensor(old))
    settings = {"clip_low": 1e-2, "clip_high": 1e-2, "importance_cap": None}
    loss, sums = flow_loss(log_prob(mean), before, before, torch.tensor(advantages), **settings, guard=guard)
    loss.backward()
    total, gradient, clipped = 0.0, np.zeros_like(old), 0
    for k in range(24):
        ratio = math.exp(np.mean(noise[k] * moved[k]))
        free, bounded = ratio * advantages[k], min(max(ratio, 0.99), 1.01) * advantages[k]
        total -= min(free, bounded) / length[k] / 24
        clipped += bounded < free
        if bounded >= free:
            gradient[k] = -ratio * advantages[k] * noise[k] / noise[k].size / length[k] / 24
    assert loss.item() == pytest.approx(total, rel=1e-10)
    assert sums["clipped"] == clipped
    assert 0 < clipped < 24
    np.testing.assert_allclose(mean.grad.numpy(), gradient, atol=1e-12)


def test_guarded_steps_pull_at_the_velocity_alike_and_plain_ones_do_not():
    """Gradients by the velocity of six steps of FLUX-Kontext's training, for one noise and one advantage."""
    sigmas = torch.tensor([1.0, 0.96, 0.9, 0.81, 0.65, 0.35], dtype=torch.float64)
    noise = torch.ones(1, 1, 4, dtype=torch.float64)
    pulls: dict[bool, list[float]] = {False: [], True: []}
    for sigma, following in pairwise(sigmas):
        for guarded in (False, True):
            v = torch.zeros(1, 1, 4, dtype=torch.float64, requires_grad=True)
            x = torch.zeros_like(noise)
            reached, before = sde_step(x, v.detach(), sigma, following, 0.9, noise)
            mean, std = sde_mean_std(x, v, sigma, following, 0.9)
            log_probs = sde_log_prob(x, v, sigma, following, 0.9, reached)
            length = (sigma - following).reshape(1)
            guard = Guard(gaussian_divergence(mean, mean.detach(), std), std.flatten(), length) if guarded else None
            settings = {"clip_low": 1e-3, "clip_high": 1e-3, "importance_cap": None}
            advantage = torch.ones(1, dtype=torch.float64)
            flow_loss(log_probs, before, before, advantage, **settings, guard=guard)[0].backward()
            pulls[guarded].append(v.grad.abs().max().item())
    # the factor of v in the mean, (1 + s²(1 − σ)/(2σ)), is what is left: 1 to 1 + η²/2
    assert max(pulls[True]) / min(pulls[True]) < 1 + 0.9**2 / 2 + 1e-9
    assert max(pulls[False]) / min(pulls[False]) > 2


def test_an_empty_batch_and_a_missing_divergence_are_refused():
    steps = random_steps()
    steps.pop("divergence")
    with pytest.raises(ValueError, match=r"kl_coefficient is 0.1"):
        flow_loss(**steps, **SETTINGS, kl_coefficient=0.1)
    with pytest.raises(ValueError, match="no denoising step"):
        flow_loss(**{name: tensor[:0] for name, tensor in steps.items()}, **SETTINGS)
