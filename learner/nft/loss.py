"""The loss on the forward process: flow matching to good edits, and away from bad ones."""

from __future__ import annotations

import torch

LEAST_WEIGHT = 1e-5


def optimality(advantages: torch.Tensor, clip: float) -> torch.Tensor:
    """r = ½ + ½·clamp(A / clip, −1, 1), in [0, 1]: how good an edit is, see DiffusionNFT, section 3.2."""
    return 0.5 + 0.5 * (advantages / clip).clamp(-1, 1)


def nft_loss(
    velocity: torch.Tensor,
    behaviour_velocity: torch.Tensor,
    clean: torch.Tensor,
    noise: torch.Tensor,
    sigma: torch.Tensor,
    advantages: torch.Tensor,
    *,
    beta: float,
    advantage_clip: float,
    kl_coefficient: float = 0.0,
    reference_velocity: torch.Tensor | None = None,
    normaliser: float | None = None,
) -> tuple[torch.Tensor, dict[str, float]]:
    """Σ [ r·d(v⁺) + (1 − r)·d(v⁻) + β_KL·mean (v − v_ref)² ] / number of pairs, over (edit, noise level) pairs.

    With v⁺ = (1 − β)·v_old + β·v and v⁻ = (1 + β)·v_old − β·v, the implicit positive and negative velocities of
    DiffusionNFT (arXiv 2509.16117). An edit x₀ with noise ε at level σ is x = (1 − σ)·x₀ + σ·ε, and x − σ·u is what a
    velocity u makes of it; d(u) = mean (x − σ·u − x₀)² / sg(max(mean |x − σ·u − x₀|, 1e-5)) is the paper's
    self-normalised distance. v_old is of the weights before the first optimizer step, where v = v_old and the gradient
    is that of flow matching weighted by (2r − 1)·2β.

    Args:
        velocity, behaviour_velocity, clean, noise: (B, S, C); v, v_old, x₀ and ε.
        sigma, advantages: (B,).
        reference_velocity: (B, S, C) of the starting model.
        normaliser: number of pairs of the whole batch, where this call sees only a part of it; default: B.

    Returns:
        The scalar loss, and sums over pairs: `objective` (minus the loss without KL), `kl`, `count`, and of what this
        loss has not `ratio` 1, `clipped` 0 and `importance` 1.

    Raises:
        ValueError: no pair, or a KL coefficient without reference.
    """
    count = len(advantages)
    normaliser = count if normaliser is None else normaliser
    if count == 0 or normaliser <= 0:
        raise ValueError("the batch has no noise level to train on")
    if kl_coefficient > 0 and reference_velocity is None:
        raise ValueError(f"kl_coefficient is {kl_coefficient}, but no velocity of the reference is given")
    velocity = velocity.to(clean.dtype)
    behaviour_velocity = behaviour_velocity.to(clean.dtype)
    level = sigma.to(clean.dtype).reshape(-1, *[1] * (clean.ndim - 1))
    noised = (1 - level) * clean + level * noise
    good = optimality(advantages, advantage_clip)
    distances = [
        _distance(noised - level * (behaviour_velocity + sign * beta * (velocity - behaviour_velocity)), clean)
        for sign in (1, -1)
    ]
    objective = -(good * distances[0] + (1 - good) * distances[1]).sum()
    kl = clean.new_zeros(())
    if reference_velocity is not None:
        kl = ((velocity - reference_velocity.to(clean.dtype)) ** 2).flatten(1).mean(1).sum()
    sums = {
        "objective": objective.item(),
        "kl": kl.item(),
        "ratio": float(count),
        "clipped": 0.0,
        "importance": float(count),
        "count": count,
    }
    return (kl_coefficient * kl - objective) / normaliser, sums


def _distance(denoised: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    difference = (denoised - clean).flatten(1)
    return (difference**2).mean(1) / difference.detach().abs().mean(1).clamp(min=LEAST_WEIGHT)
