"""The Inverse Diffuser's loss: clipped objective on the log-probability of each denoising step, optional KL."""

from __future__ import annotations

import torch

from learner.clipped_objective import clipped_objective, drift_of, truncated_importance


def gaussian_divergence(mean: torch.Tensor, reference_mean: torch.Tensor, std: torch.Tensor | float) -> torch.Tensor:
    """KL of two Gaussians of one standard deviation: (μ − μ_ref)² / (2 std²), mean over all but the first dimension.

    Flow-GRPO (arXiv 2505.05470), as a mean over dimensions like the log-probability. Shapes (B, …) → (B,), in the
    dtype of the means, which `sde_mean_std` gives in float32.
    """
    return ((mean - reference_mean) ** 2 / (2 * std**2)).flatten(1).mean(1)


def flow_loss(
    log_probs: torch.Tensor,
    behaviour_log_probs: torch.Tensor,
    rollout_log_probs: torch.Tensor,
    advantages: torch.Tensor,
    *,
    clip_low: float,
    clip_high: float,
    importance_cap: float | None,
    kl_coefficient: float = 0.0,
    divergence: torch.Tensor | None = None,
    normaliser: float | None = None,
    dual_clip: float | None = None,
) -> tuple[torch.Tensor, dict[str, float]]:
    """−Σ [ w·min(ρA, clip(ρ)A) − β·KL ] / number of steps, over (edit, denoising step) pairs.

    Args:
        log_probs, behaviour_log_probs, rollout_log_probs: (B,) log-probability of one denoising step of each edit, as a
            mean over the latent's dimensions: of the policy now, of the policy before the first optimizer step of this
            update, and of the sampler.
        advantages: (B,).
        divergence: (B,) KL to the starting model, see `gaussian_divergence`.
        normaliser: number of pairs of the whole batch, where this call sees only a part of it; default: B.
        dual_clip: see `clipped_objective`.

    Returns:
        The scalar loss, and sums over pairs: `objective`, `kl`, `ratio`, `clipped`, `importance`, `drift`, `count`.

    Raises:
        ValueError: no pair, or a KL coefficient without divergence.
    """
    count = log_probs.numel()
    normaliser = count if normaliser is None else normaliser
    if count == 0 or normaliser <= 0:
        raise ValueError("the batch has no denoising step to train on")
    if kl_coefficient > 0 and divergence is None:
        raise ValueError(f"kl_coefficient is {kl_coefficient}, but no divergence to the reference is given")
    objective, ratio, clipped = clipped_objective(
        log_probs, behaviour_log_probs, advantages, clip_low, clip_high, dual_clip
    )
    importance = truncated_importance(behaviour_log_probs, rollout_log_probs, importance_cap)
    objective = (importance * objective).sum()
    kl = log_probs.new_zeros(()) if divergence is None else divergence.sum()
    sums = {
        "objective": objective.item(),
        "kl": kl.item(),
        "ratio": ratio.sum().item(),
        "clipped": clipped.sum().item(),
        "importance": importance.sum().item(),
        "drift": drift_of(log_probs, behaviour_log_probs).sum().item(),
        "count": count,
    }
    return (kl_coefficient * kl - objective) / normaliser, sums
