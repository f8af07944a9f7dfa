"""What the Checker's answers about an image come to: requirements that hold, and the reward of the paper."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

HOLDS = 0.5


def reward_of(satisfaction: Sequence[float], kind: str) -> float:
    """The fraction of requirements that hold (`hard`), or their mean yes-probability (`soft`); DESIGN §4."""
    values = np.asarray(satisfaction, dtype=float)
    return float(np.mean(values >= HOLDS if kind == "hard" else values))


def improves(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether more requirements hold, or as many with a higher mean probability."""
    return (reward_of(after, "hard"), reward_of(after, "soft")) > (
        reward_of(before, "hard"),
        reward_of(before, "soft"),
    )
