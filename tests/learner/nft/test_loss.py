"""The loss on the forward process against the paper's formulas, written with numpy in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from learner.nft.loss import nft_loss, optimality

SETTINGS = {"beta": 0.7, "advantage_clip": 5.0}


def random_pairs(seed: int = 0, count: int = 6) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (count, 5, 4)
    pairs = {
        name: torch.randn(shape, generator=generator, dtype=torch.float64)
        for name in ("velocity", "behaviour_velocity", "clean", "noise")
    }
    pairs["sigma"] = torch.rand(count, generator=generator, dtype=torch.float64) * 0.9 + 0.1
    pairs["advantages"] = 4 * torch.randn(count, generator=generator, dtype=torch.float64)
    return pairs


def by_the_paper(pairs: dict[str, np.ndarray], beta: float, clip: float) -> float:
    """DiffusionNFT's objective, pair by pair and number by number."""
    total = 0.0
    for v, old, clean, noise, sigma, advantage in zip(*pairs.values(), strict=True):
        good = 0.5 + 0.5 * min(1.0, max(-1.0, advantage / clip))
        for share, implicit in ((good, (1 - beta) * old + beta * v), (1 - good, (1 + beta) * old - beta * v)):
            x = (1 - sigma) * clean + sigma * noise
            error = x - sigma * implicit - clean
            total += share * np.mean(error**2) / max(np.mean(np.abs(error)), 1e-5)
    return total / len(pairs["sigma"])


def as_numpy(pairs: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in pairs.items()}


@pytest.mark.parametrize("beta", [0.1, 0.7, 1.0])
def test_the_loss_equals_the_paper_pair_by_pair(beta):
    for seed in range(5):
        pairs = random_pairs(seed)
        loss, sums = nft_loss(**pairs, beta=beta, advantage_clip=3.0)
        assert loss.item() == pytest.approx(by_the_paper(as_numpy(pairs), beta, 3.0), rel=1e-12)
        assert -sums["objective"] / sums["count"] == pytest.approx(loss.item(), rel=1e-12)


def test_the_gradient_before_the_first_step_is_that_of_weighted_flow_matching():
    pairs = random_pairs()
    velocity = pairs["velocity"] = pairs["behaviour_velocity"].clone().requires_grad_()
    nft_loss(**pairs, **SETTINGS)[0].backward()
    v, clean, noise = (pairs[name].detach().numpy() for name in ("velocity", "clean", "noise"))
    sigma = pairs["sigma"].numpy()[:, None, None]
    weight = np.clip(pairs["advantages"].numpy() / 5, -1, 1)[:, None, None]  # 2r − 1
    error = sigma * (noise - clean - v)
    scale = np.abs(error).mean((1, 2), keepdims=True)
    # d/dv of mean (x − σv − x₀)² / scale is −2σ·error / (scale · numbers); the two terms add up to 2r − 1 of it
    expected = weight * SETTINGS["beta"] * -2 * sigma * error / scale / error[0].size / len(sigma)
    np.testing.assert_allclose(velocity.grad.numpy(), expected, atol=1e-14)


def test_after_a_step_the_gradient_is_that_of_finite_differences_with_fixed_weights():
    pairs, step = random_pairs(3), 1e-6
    pairs["velocity"].requires_grad_()
    nft_loss(**pairs, **SETTINGS)[0].backward()
    found = pairs["velocity"].grad[2, 1, 3].item()
    fixed = as_numpy({name: tensor.detach().clone() for name, tensor in pairs.items()})

    def with_fixed_weights(shift: float) -> float:
        v, old, clean, noise, sigma, advantage = (fixed[name][2] for name in fixed)
        moved = v.copy()
        moved[1, 3] += shift
        good, total, beta = 0.5 + 0.5 * np.clip(advantage / 5, -1, 1), 0.0, SETTINGS["beta"]
        for share, sign in ((good, 1), (1 - good, -1)):
            x = (1 - sigma) * clean + sigma * noise
            weigh = np.abs(x - sigma * (old + sign * beta * (v - old)) - clean).mean()
            total += share * ((x - sigma * (old + sign * beta * (moved - old)) - clean) ** 2).mean() / weigh
        return total / len(fixed["sigma"])

    expected = (with_fixed_weights(step) - with_fixed_weights(-step)) / (2 * step)
    assert found == pytest.approx(expected, rel=1e-6)


@given(st.floats(-20, 20), st.floats(0.1, 10))
def test_how_good_an_edit_is_lies_between_0_and_1_and_rises_with_its_advantage(advantage, clip):
    good, better = optimality(torch.tensor([advantage, advantage + 0.1], dtype=torch.float64), clip).tolist()
    assert 0 <= good <= better <= 1
    assert optimality(torch.tensor([-advantage], dtype=torch.float64), clip).item() == pytest.approx(1 - good)


def test_an_edit_like_its_group_moves_nothing():
    pairs = random_pairs()
    pairs["advantages"].zero_()
    pairs["velocity"] = pairs["behaviour_velocity"].clone().requires_grad_()
    nft_loss(**pairs, **SETTINGS)[0].backward()
    np.testing.assert_allclose(pairs["velocity"].grad.numpy(), 0, atol=1e-16)


def test_the_kl_is_the_mean_squared_distance_of_velocities():
    pairs = random_pairs()
    reference = torch.zeros_like(pairs["velocity"])
    without = nft_loss(**pairs, **SETTINGS)[0].item()
    loss, sums = nft_loss(**pairs, **SETTINGS, kl_coefficient=0.3, reference_velocity=reference)
    squares = np.mean(pairs["velocity"].numpy() ** 2, axis=(1, 2))
    assert sums["kl"] == pytest.approx(squares.sum(), rel=1e-12)
    assert loss.item() == pytest.approx(without + 0.3 * squares.mean(), rel=1e-12)


def test_parts_of_a_batch_add_up_to_it():
    pairs = random_pairs()
    whole = nft_loss(**pairs, **SETTINGS)[0].item()
    parts = [{name: tensor[rows] for name, tensor in pairs.items()} for rows in (slice(0, 2), slice(2, 6))]
    assert sum(nft_loss(**part, **SETTINGS, normaliser=6)[0].item() for part in parts) == pytest.approx(whole, 1e-12)


def test_an_empty_batch_and_a_missing_reference_are_refused():
    pairs = random_pairs()
    with pytest.raises(ValueError, match=r"kl_coefficient is 0.1"):
        nft_loss(**pairs, **SETTINGS, kl_coefficient=0.1)
    with pytest.raises(ValueError, match="no noise level"):
        nft_loss(**{name: tensor[:0] for name, tensor in pairs.items()}, **SETTINGS)
