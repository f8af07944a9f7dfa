import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from learner.vlm_loss import k3_divergence, token_log_probs, vlm_loss
from tests.learner.clipped_term import clipped_term

SETTINGS = {"clip_low": 0.2, "clip_high": 0.28, "importance_cap": 1.5}


def random_batch(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    log_probs = -3 * torch.rand(4, 6, generator=generator, dtype=torch.float64)
    return {
        "log_probs": log_probs,
        "behaviour_log_probs": log_probs + 0.3 * noise(4, 6),
        "rollout_log_probs": log_probs + 0.3 * noise(4, 6),
        "advantages": noise(4),
        "mask": torch.arange(6) < torch.tensor([6, 1, 4, 3]).unsqueeze(1),
        "reference_log_probs": log_probs + 0.3 * noise(4, 6),
    }


def loss_term_by_term(batch: dict[str, torch.Tensor], kl_coefficient: float) -> tuple[float, np.ndarray, set[str]]:
    """The loss, its derivative by each log-probability, and which branches of the formula were taken."""
    values = {name: tensor.numpy() for name, tensor in batch.items()}
    total, count, branches = 0.0, int(values["mask"].sum()), set()
    gradient = np.zeros_like(values["log_probs"])
    for row, column in zip(*np.nonzero(values["mask"]), strict=True):
        new, old, engine, reference = (
            float(values[f"{name}log_probs"][row, column]) for name in ("", "behaviour_", "rollout_", "reference_")
        )
        advantage = float(values["advantages"][row])
        objective, slope, taken = clipped_term(new, old, engine, advantage, **SETTINGS)
        branches |= taken
        k3 = math.exp(reference - new) - 1 - (reference - new)
        total += -objective + kl_coefficient * k3
        gradient[row, column] = (-slope + kl_coefficient * (1 - math.exp(reference - new))) / count
    return total / count, gradient, branches


@pytest.mark.parametrize("kl_coefficient", [0.0, 0.5])
def test_loss_and_gradient_equal_the_formula_term_by_term(kl_coefficient):
    seen = set()
    for seed in range(5):
        batch = random_batch(seed)
        expected, gradient, branches = loss_term_by_term(batch, kl_coefficient)
        batch["log_probs"].requires_grad_()
        loss, sums = vlm_loss(**batch, **SETTINGS, kl_coefficient=kl_coefficient)
        loss.backward()
        assert loss.item() == pytest.approx(expected, rel=1e-12)
        np.testing.assert_allclose(batch["log_probs"].grad.numpy(), gradient, atol=1e-14)
        assert sums["count"] == 14
        seen |= branches
    assert seen == {"capped", "clipped from above", "clipped from below", "free"}


@pytest.mark.parametrize(
    ("log_ratio", "advantage", "objective", "clipped"),
    [
        (0.4, 1.0, 1.28, True),
        (-0.4, 1.0, math.exp(-0.4), False),
        (0.4, -1.0, -math.exp(0.4), False),
        (-0.4, -1.0, -0.8, True),
    ],
)
def test_a_token_is_clipped_only_where_it_went_too_far_to_the_good_side(log_ratio, advantage, objective, clipped):
    log_probs = torch.full((1, 1), log_ratio - 1, dtype=torch.float64, requires_grad=True)
    old, mask = torch.full((1, 1), -1.0, dtype=torch.float64), torch.ones(1, 1, dtype=torch.bool)
    loss, sums = vlm_loss(log_probs, old, old, torch.tensor([advantage]).double(), mask, **SETTINGS)
    loss.backward()
    assert loss.item() == pytest.approx(-objective, rel=1e-12)
    assert sums["clipped"] == clipped
    assert log_probs.grad.item() == pytest.approx(0.0 if clipped else -objective, rel=1e-12)


@pytest.mark.parametrize(("difference", "bound"), [(0.5, 10.0), (3.0, 10.0), (2.3, 10.0), (800.0, 10.0), (-90.0, 5.0)])
def test_a_bounded_k3_is_the_estimate_below_its_bound_and_has_no_gradient_beyond(difference, bound):
    log_probs = torch.tensor([-1.0], dtype=torch.float64, requires_grad=True)
    found = k3_divergence(log_probs, log_probs.detach() + difference, bound)
    found.sum().backward()
    held = min(max(difference, -20), 20)
    k3 = math.exp(held) - 1 - held
    assert found.item() == pytest.approx(min(k3, bound), rel=1e-12)
    free = abs(difference) <= 20 and k3 <= bound
    assert log_probs.grad.item() == pytest.approx(1 - math.exp(difference) if free else 0.0, rel=1e-12)


def test_the_entropy_is_estimated_by_the_sampled_tokens_and_the_drift_by_the_ratio():
    batch = random_batch()
    _, sums = vlm_loss(**batch, **SETTINGS)
    picked = {name: batch[name][batch["mask"]].numpy() for name in ("log_probs", "behaviour_log_probs")}
    assert sums["entropy"] == pytest.approx(-picked["log_probs"].sum(), rel=1e-12)
    ratio = picked["log_probs"] - picked["behaviour_log_probs"]
    assert sums["drift"] == pytest.approx((np.exp(ratio) - 1 - ratio).sum(), rel=1e-12)


def test_padding_has_no_influence():
    batch = random_batch()
    expected, _ = vlm_loss(**batch, **SETTINGS, kl_coefficient=0.5)
    for name in ("log_probs", "behaviour_log_probs", "rollout_log_probs", "reference_log_probs"):
        batch[name] = torch.where(batch["mask"], batch[name], -50 * torch.rand(4, 6))
    batch["log_probs"].requires_grad_()
    loss, _ = vlm_loss(**batch, **SETTINGS, kl_coefficient=0.5)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert (batch["log_probs"].grad[~batch["mask"]] == 0).all()


def test_gradient_on_policy_is_that_of_reinforce_with_a_token_mean():
    batch = random_batch()
    log_probs = batch["log_probs"].clone().requires_grad_()
    same = log_probs.detach()
    loss, _ = vlm_loss(log_probs, same, same, batch["advantages"], batch["mask"], **SETTINGS)
    loss.backward()
    expected = -batch["advantages"].unsqueeze(1) * batch["mask"] / batch["mask"].sum()
    torch.testing.assert_close(log_probs.grad, expected)


def test_parts_with_one_normaliser_add_up_to_the_whole():
    batch = random_batch()
    whole, _ = vlm_loss(**batch, **SETTINGS, kl_coefficient=0.1)
    count = float(batch["mask"].sum())
    parts = [
        vlm_loss(**{n: t[rows] for n, t in batch.items()}, **SETTINGS, kl_coefficient=0.1, normaliser=count)[0]
        for rows in (slice(0, 1), slice(1, 4))
    ]
    assert sum(parts).item() == pytest.approx(whole.item(), rel=1e-6)


def test_kl_is_zero_at_the_reference():
    log_probs = torch.tensor([-0.5, -2.0], requires_grad=True)
    divergence = k3_divergence(log_probs, log_probs.detach())
    divergence.sum().backward()
    assert (divergence == 0).all()
    assert (log_probs.grad == 0).all()


@given(st.floats(-8, 0), st.floats(-8, 0))
def test_kl_is_positive_away_from_the_reference(log_prob, reference):
    divergence = k3_divergence(torch.tensor(log_prob).double(), torch.tensor(reference).double())
    assert divergence >= 0
    if abs(log_prob - reference) > 1e-6:
        assert divergence > 0


def test_k3_is_unbiased_over_the_policys_own_samples():
    policy, reference = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]], dtype=torch.float64)
    expected = (policy * (policy / reference).log()).sum()
    assert (policy * k3_divergence(policy.log(), reference.log())).sum() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_token_log_probs_equal_a_float64_softmax(temperature):
    logits = torch.randn(2, 5, 11, generator=torch.Generator().manual_seed(0)) * 10
    tokens = torch.randint(11, (2, 5), generator=torch.Generator().manual_seed(1))
    scaled = logits.double().numpy() / temperature
    expected = scaled - np.log(np.exp(scaled).sum(-1, keepdims=True))
    expected = np.take_along_axis(expected, tokens.numpy()[..., None], -1)[..., 0]
    np.testing.assert_allclose(token_log_probs(logits, tokens, temperature).numpy(), expected, atol=1e-5)


def test_an_empty_batch_and_a_missing_reference_are_refused():
    batch = random_batch()
    with pytest.raises(ValueError, match="no token"):
        vlm_loss(**{**batch, "mask": torch.zeros(4, 6, dtype=torch.bool)}, **SETTINGS)
    batch.pop("reference_log_probs")
    with pytest.raises(ValueError, match=r"kl_coefficient is 0.1"):
        vlm_loss(**batch, **SETTINGS, kl_coefficient=0.1)
