"""One term of the losses, written from the formula and nothing else."""

from __future__ import annotations

import math


def clipped_term(
    new: float,
    old: float,
    sampler: float,
    advantage: float,
    *,
    clip_low: float,
    clip_high: float,
    importance_cap: float,
) -> tuple[float, float, set[str]]:
    """w·min(ρA, clip(ρ)A), its derivative by the new log-probability, and which branches of the formula were taken."""
    ratio, weight, branches = math.exp(new - old), math.exp(old - sampler), set()
    if weight > importance_cap:
        weight = importance_cap
        branches.add("capped")
    if advantage > 0 and ratio > 1 + clip_high:
        objective, slope = (1 + clip_high) * advantage, 0.0
        branches.add("clipped from above")
    elif advantage < 0 and ratio < 1 - clip_low:
        objective, slope = (1 - clip_low) * advantage, 0.0
        branches.add("clipped from below")
    else:
        objective = slope = ratio * advantage
        branches.add("free")
    return weight * objective, weight * slope, branches
