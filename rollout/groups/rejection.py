"""Poisoned values: members of a group that nothing may be learnt from, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from rewards.part import Worth, by_scorer
from rollout.trajectory import Turn


def rejection(turn: Turn, worth: Worth | None = None) -> str | None:
    """Why a member may not be compared with the others of its group, or None where it may. What the models gave comes
    before what a scorer did not give."""
    missing = None if worth is None else worth.rejected
    if missing is None and not np.isfinite(turn.reward):
        return "the reward is not finite"
    if not np.isfinite(turn.satisfaction_after).all():
        return "the Checker gave no probability"
    if not np.isfinite(turn.token_log_probs).all():
        return "a token's log-probability is not finite"
    if turn.flow is not None and not (np.isfinite(turn.flow.log_probs).all() and np.isfinite(turn.flow.latents).all()):
        return "a denoising step is not finite"
    if turn.image_after is not None and not turn.image_after.pixels.any():
        return "the image is black"
    return missing


def poisoned(turns: Sequence[Turn]) -> dict[str, int]:
    """How many members were rejected, by reason, without those that a scorer gave no value."""
    return {reason: count for reason, count in rejections(turns).items() if not by_scorer(reason)}


def rejections(turns: Sequence[Turn]) -> dict[str, int]:
    """How many members were rejected, by reason."""
    return dict(Counter(turn.rejected for turn in turns if turn.rejected is not None))
