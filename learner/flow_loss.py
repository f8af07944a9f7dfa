"""The Inverse Diffuser's loss: clipped objective on the log-probability of each denoising step, optional KL."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from learner.clipped_objective import clipped_objective, drift_of, truncated_importance


def gaussian_divergence(mean: torch.Tensor, reference_mean: torch.Tensor, std: torch.Tensor | float) -> torch.Tensor:
    """KL of two Gaussians of one standard deviation: (μ − μ_ref)² / (2 std²), mean over all but the first dimension.

    Flow-GRPO (arXiv 2505.05470), as a mean over dimensions like the log-probability. Shapes (B, …) → (B,), in the
    dtype of the means, which `sde_mean_std` gives in float32.
    """
    return ((mean - reference_mean) ** 2 / (2 * std**2)).flatten(1).mean(1)


@dataclass(frozen=True)
class Guard:
    """What GRPO-Guard (arXiv 2510.22319) weighs steps with, each (B,): the divergence of the step's mean from that
    before the update (`gaussian_divergence`), the standard deviation of the step, and its length |σ_next − σ|."""

    divergence: torch.Tensor
    std: torch.Tensor
    length: torch.Tensor

    def log_ratio(self, log_probs: torch.Tensor, behaviour_log_probs: torch.Tensor) -> torch.Tensor:
        """std·(log ρ + divergence): the mean over dimensions of ε·(μ − μ_old), where ε is the step's noise. It has not
        the bias of log ρ to below 0, and one scale at all steps."""
        return self.std * (log_probs - behaviour_log_probs + self.divergence)


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
    guard: Guard | None = None,
) -> tuple[torch.Tensor, dict[str, float]]:
    """−Σ [ w·min(ρA, clip(ρ)A) − β·KL ] / number of steps, over (edit, denoising step) pairs. With `guard`, ρ is the
    exponential of `Guard.log_ratio`, and the first term is divided by the step's length.

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
        log_probs if guard is None else guard.log_ratio(log_probs, behaviour_log_probs),
        behaviour_log_probs if guard is None else torch.zeros_like(log_probs),
        advantages,
        clip_low,
        clip_high,
        dual_clip,
    )
    if guard is not None:
        objective = objective / guard.length
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
