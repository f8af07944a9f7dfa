"""The part of the loss that both policies share: PPO's clipped objective and truncated importance sampling."""

from __future__ import annotations

import torch


def clipped_objective(
    log_probs: torch.Tensor,
    behaviour_log_probs: torch.Tensor,
    advantages: torch.Tensor,
    clip_low: float,
    clip_high: float,
    dual_clip: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """min(ρ·A, clip(ρ, 1 − clip_low, 1 + clip_high)·A) for each element, with ρ = exp(log p_new − log p_behaviour).

    PPO (arXiv 1707.06347) with the two bounds apart as in DAPO (arXiv 2503.14476). The bound acts only where it makes
    the objective smaller: from above for A > 0, from below for A < 0. With `dual_clip` c, the objective of A < 0 does
    not fall below c·A (dual-clip PPO, arXiv 1912.09729), whatever the ratio is.

    Args:
        log_probs: any shape, with gradient.
        behaviour_log_probs: the same shape, of the weights before the first optimizer step of the update.
        advantages: broadcastable to that shape.

    Returns:
        objective (to be maximised), ratio ρ, and a boolean that is true where the clip stopped the gradient.
    """
    ratio = torch.exp(log_probs - behaviour_log_probs)
    free = ratio * advantages
    bounded = ratio.clamp(1 - clip_low, 1 + clip_high) * advantages
    objective, clipped = torch.minimum(free, bounded), bounded.detach() < free.detach()
    if dual_clip is not None:
        least = dual_clip * advantages.expand_as(objective)
        beyond = (advantages < 0) & (objective.detach() < least)
        objective, clipped = torch.where(beyond, least, objective), clipped | beyond
    return objective, ratio.detach(), clipped


def drift_of(log_probs: torch.Tensor, behaviour_log_probs: torch.Tensor) -> torch.Tensor:
    """ρ − 1 − log ρ for each element, without gradient: an estimate of the KL of the weights before the update to those
    during it (k3 of J. Schulman, "Approximating KL divergence", 2020)."""
    return k3((log_probs - behaviour_log_probs).detach())


def k3(difference: torch.Tensor) -> torch.Tensor:
    """exp(d) − 1 − d, the estimate of a KL divergence that is never negative; accurate for small d."""
    return torch.expm1(difference) - difference


def truncated_importance(
    behaviour_log_probs: torch.Tensor, rollout_log_probs: torch.Tensor, cap: float | None
) -> torch.Tensor:
    """w = min(exp(log p_learner − log p_rollout), cap), without gradient, element by element; 1 where `cap` is None.

    It corrects for answers that another engine, or older weights, sampled (truncated importance sampling, as in
    "Your efficient RL framework secretly brings you off-policy RL training", 2025). Where the cap does not bind, the
    expected loss of a term is that of the learner's own samples. Two limits: the weight is of one term, not of the
    tokens or steps before it; and a log-probability that is a mean over D dimensions gives the D-th root of the weight.
    """
    if cap is None:
        return torch.ones_like(behaviour_log_probs)
    return torch.exp(behaviour_log_probs - rollout_log_probs).clamp(max=cap).detach()
