"""`kept_requirements`: what held before the edit still holds after it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rewards.satisfaction import HOLDS
from rewards.turn import ScoredTurn


class KeptRequirements:
    """With H the requirements that held before (`b ≥ ½`): the share of H with `a ≥ ½` after the edit, or, `soft`, the
    mean over H of `min(1, a/b)`. 1 where none held, as nothing could be lost."""

    def __init__(self, soft: bool = False) -> None:
        self._soft = soft

    def __call__(self, turns: Sequence[ScoredTurn]) -> list[float]:
        """One value in [0, 1] a turn; NaN where the Checker gave a requirement of H no probability."""
        return [self._value(np.array(t.satisfaction_before), np.array(t.satisfaction_after)) for t in turns]

    def _value(self, before: np.ndarray, after: np.ndarray) -> float:
        held = before >= HOLDS
        if not held.any():
            return 1.0
        if np.isnan(after[held]).any():
            return float("nan")
        kept = np.minimum(1.0, after[held] / before[held]) if self._soft else after[held] >= HOLDS
        return float(np.mean(kept))
