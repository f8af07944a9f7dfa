"""Members of a group compared with each other: their advantages, and whether the group carries a signal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from learner.advantages import AdvantageScale, group_advantages, has_signal
from rollout.trajectory import Turn


def compared(
    members: Sequence[Turn], rewards: Sequence[float], least_spread: float = 0.0, scale: AdvantageScale = "group"
) -> list[tuple[Turn, float | None, bool]]:
    """Each member of a group with its advantage over the others, None where it was rejected, and whether the group
    carries no signal: rewards that hardly differ, or fewer than two members to compare. Rewards are one a member."""
    sound = np.array([reward for member, reward in zip(members, rewards, strict=True) if member.rejected is None])
    signal = len(sound) >= 2 and has_signal(sound, least_spread)
    advantages = iter(group_advantages(sound, scale) if signal else np.zeros(len(sound)))
    return [(member, float(next(advantages)) if member.rejected is None else None, not signal) for member in members]
