"""`checker`: the Checker's satisfaction, the reward of the paper, or what code of the user's makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real

import numpy as np

from rewards.satisfaction import reward_of
from rewards.turn import ScoredTurn
from scenes.entry_point import is_entry_point, load_entry_point
from scenes.scene_graph import SceneGraph

Reading = Callable[[Sequence[float], np.ndarray, SceneGraph], float]
"""Of an image: the Checker's yes-probability for each of the graph's requirements, the image (H, W, 3) uint8, and the
graph that it was made for."""


def load_reading(name: str) -> Reading:
    """What `rollout.reward` names: `hard`, `soft` (see `reward_of`), or `module:name`.

    Raises:
        EntryPointError: there is no such code. The function itself raises TypeError where the user's returns no number.
    """
    if not is_entry_point(name):
        return lambda satisfaction, image, graph: reward_of(satisfaction, name)
    own = load_entry_point("rollout.reward", name)

    def reading(satisfaction: Sequence[float], image: np.ndarray, graph: SceneGraph) -> float:
        value = own(satisfaction, image, graph)
        if not isinstance(value, Real):
            raise TypeError(f"rollout.reward: {name} returned {type(value).__name__} {value!r}; return one float")
        return float(value)

    return reading


class CheckerScorer:
    """Args:
    reading: see `load_reading`.
    """

    def __init__(self, reading: str) -> None:
        self._read = load_reading(reading)

    def __call__(self, turns: Sequence[ScoredTurn]) -> list[float]:
        """What the Checker's answers about each edited image come to; NaN where it gave none."""
        return [self._read(turn.satisfaction_after, turn.image, turn.graph) for turn in turns]
