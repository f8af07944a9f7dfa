"""Group-relative advantages: a member of a group is compared with the other answers to the same state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

EPSILON = 1e-4
AdvantageScale = Literal["group", "batch", "none"]


def group_advantages(rewards: np.ndarray, scale: AdvantageScale = "group") -> np.ndarray:
    """A_i = (r_i − mean r) / (std r + 1e-4), with the population standard deviation (GRPO, arXiv 2402.03300).

    Args:
        rewards: (G,) one reward for each member of the group.
        scale: with `none` and `batch` only the mean is taken away, as in Dr. GRPO (arXiv 2503.20783); `batch` leaves
            the rest to `batch_scale`, when the update is complete.

    Returns:
        (G,) float64 advantages; they sum to zero, and are all zero where the rewards are equal.

    Raises:
        ValueError: another shape, fewer than two members, or a reward that is not finite.
    """
    rewards = _checked(rewards)
    if not has_signal(rewards):
        return np.zeros_like(rewards)
    advantages: np.ndarray = rewards - rewards.mean()
    return advantages / (rewards.std() + EPSILON) if scale == "group" else advantages


def batch_scale(advantages: Sequence[float]) -> float:
    """What unscaled advantages of all members of an update are divided by: their root mean square + 1e-4. It is the
    standard deviation within groups; what groups differ by is no part of it.

    Raises:
        ValueError: no advantage.
    """
    if not len(advantages):
        raise ValueError("advantages is empty; an update has at least one group")
    return float(np.sqrt(np.mean(np.square(np.asarray(advantages, dtype=np.float64))))) + EPSILON


def has_signal(rewards: np.ndarray, least_spread: float = 0.0) -> bool:
    """Whether the members of the group differ by more than a standard deviation of `least_spread`; a group of equal
    rewards teaches nothing and should be replaced. Soft rewards always differ a little, and advantages, being
    normalised, would make as much of that as of a move that succeeds."""
    rewards = _checked(rewards)
    return bool(np.ptp(rewards) > 0 and rewards.std() >= least_spread)


def _checked(rewards: np.ndarray) -> np.ndarray:
    rewards = np.asarray(rewards, dtype=np.float64)
    if rewards.ndim != 1 or rewards.size < 2:
        raise ValueError(
            f"rewards have shape {rewards.shape}; a group needs one reward for each of at least 2 members, "
            "because an advantage compares a member with the others"
        )
    if not np.isfinite(rewards).all():
        raise ValueError(f"rewards contain a value that is not finite: {rewards.tolist()}")
    return rewards
