"""Running means and deviations of the scorers' values, over the updates of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rewards.combination import Scale
from rewards.part import Part

DECAY = 0.9


class Scales:
    """An exponential mean over updates of the values' mean and mean square, for each policy and scorer.

    After each update `m ← 0.9·m + 0.1·x`, divided by the sum of the weights so far, `1 − 0.9^n`, so that the first
    update counts in full. The deviation is `sqrt(mean square − mean²)`. What an update is scored with comes from
    those before it, and from nothing else, so that a resumed run gives the same.
    """

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        self._moments: dict[str, tuple[float, float, float]] = {
            name: (float(given[0]), float(given[1]), float(given[2])) for name, given in (state or {}).items()
        }

    def see(self, rows: Iterable[tuple[str, Iterable[Part] | None]]) -> None:
        """Take in the members of an update: the policy that trained, and the parts of the reward."""
        values: dict[str, list[float]] = {}
        for stage, parts in rows:
            for part in parts or ():
                if math.isfinite(part.value):
                    values.setdefault(f"{stage}/{part.name}", []).append(part.value)
        for name, found in values.items():
            weight, mean, square = self._moments.get(name, (0.0, 0.0, 0.0))
            self._moments[name] = (
                DECAY * weight + (1 - DECAY),
                DECAY * mean + (1 - DECAY) * float(np.mean(found)),
                DECAY * square + (1 - DECAY) * float(np.mean(np.square(found))),
            )

    def of(self, stage: str) -> dict[str, Scale]:
        """Mean and standard deviation by scorer, for the policy that trains; without those that were not seen yet."""
        return {
            name.partition("/")[2]: (mean / weight, math.sqrt(max(0.0, square / weight - (mean / weight) ** 2)))
            for name, (weight, mean, square) in self._moments.items()
            if name.partition("/")[0] == stage
        }

    def state(self) -> dict[str, list[float]]:
        """As JSON."""
        return {name: list(moments) for name, moments in self._moments.items()}
