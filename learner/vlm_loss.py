"""The Actor's loss: clipped objective on token log-probabilities, token-mean, optional KL to the starting model."""

from __future__ import annotations

import torch

from learner.clipped_objective import clipped_objective, drift_of, k3, truncated_importance

_FARTHEST = 20.0


def token_log_probs(logits: torch.Tensor, token_ids: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """log softmax(logits / temperature) at the sampled tokens, in float32 (float64 logits stay float64).

    Args:
        logits: (B, T, V); `logits[:, t]` predicts `token_ids[:, t]`.
        token_ids: (B, T) int64.

    Returns:
        (B, T) float32 or float64.
    """
    scaled = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
    picked = scaled.gather(-1, token_ids.unsqueeze(-1)).squeeze(-1)
    return picked - torch.logsumexp(scaled, dim=-1)


def k3_divergence(
    log_probs: torch.Tensor, reference_log_probs: torch.Tensor, bound: float | None = None
) -> torch.Tensor:
    """Unbiased, non-negative estimate of KL(policy ‖ reference): exp(d) − 1 − d, d = log p_ref − log p (k3).

    J. Schulman, "Approximating KL divergence", 2020. Same shape as the arguments. With `bound`, d is held within ±20
    and the estimate below the bound, as in verl's `low_var_kl`: a token beyond has no gradient, and is biased.
    """
    difference = reference_log_probs - log_probs
    if bound is None:
        return k3(difference)
    return k3(difference.clamp(-_FARTHEST, _FARTHEST)).clamp(max=bound)


def vlm_loss(
    log_probs: torch.Tensor,
    behaviour_log_probs: torch.Tensor,
    rollout_log_probs: torch.Tensor,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    *,
    clip_low: float,
    clip_high: float,
    importance_cap: float | None,
    kl_coefficient: float = 0.0,
    reference_log_probs: torch.Tensor | None = None,
    normaliser: float | None = None,
    dual_clip: float | None = None,
    kl_bound: float | None = None,
) -> tuple[torch.Tensor, dict[str, float]]:
    """−Σ_tokens [ w·min(ρA, clip(ρ)A) − β·k3 ] / number of tokens.

    Args:
        log_probs, behaviour_log_probs, rollout_log_probs: (B, T) natural logs of the policy now, of the policy before
            the first step of this update, and of the engine that sampled.
        advantages: (B,) one for each answer.
        mask: (B, T) true at tokens of the answer.
        normaliser: number of tokens of the whole batch, where this call sees only a part of it; default: `mask.sum()`.
        dual_clip, kl_bound: see `clipped_objective` and `k3_divergence`.

    Returns:
        The scalar loss, and sums over tokens: `objective`, `kl`, `ratio`, `clipped`, `importance`, `drift`, `entropy`
        (−log p of the sampled tokens, whose mean estimates the entropy), `count`.

    Raises:
        ValueError: no token, or a KL coefficient without reference log-probabilities.
    """
    count = int(mask.sum())
    normaliser = count if normaliser is None else normaliser
    if normaliser <= 0:
        raise ValueError("the batch has no token to train on")
    if kl_coefficient > 0 and reference_log_probs is None:
        raise ValueError(f"kl_coefficient is {kl_coefficient}, but no reference log-probabilities are given")
    objective, ratio, clipped = clipped_objective(
        log_probs, behaviour_log_probs, advantages.unsqueeze(-1), clip_low, clip_high, dual_clip
    )
    importance = truncated_importance(behaviour_log_probs, rollout_log_probs, importance_cap)
    objective = torch.where(mask, importance * objective, 0.0).sum()
    kl = log_probs.new_zeros(())
    if reference_log_probs is not None:
        kl = torch.where(mask, k3_divergence(log_probs, reference_log_probs, kl_bound), 0.0).sum()
    sums = {
        "objective": objective.item(),
        "kl": kl.item(),
        "ratio": ratio[mask].sum().item(),
        "clipped": clipped[mask].sum().item(),
        "importance": importance[mask].sum().item(),
        "drift": drift_of(log_probs, behaviour_log_probs)[mask].sum().item(),
        "entropy": -log_probs[mask].sum().item(),
        "count": count,
    }
    return (kl_coefficient * kl - objective) / normaliser, sums
