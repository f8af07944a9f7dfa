"""What an image is worth to the policy that trains: the rewards that are there, and the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real

import numpy as np

from rollout.state import reward_of
from scenes.entry_point import is_entry_point, load_entry_point
from scenes.scene_graph import SceneGraph

Reward = Callable[[Sequence[float], np.ndarray, SceneGraph], float]
"""Of an image: the Checker's yes-probability for each of the graph's requirements, the image (H, W, 3) uint8, and the
graph that it was made for."""


def load_reward(name: str) -> Reward:
    """The reward that `rollout.reward` names: `hard`, `soft` (see `reward_of`), or `module:name`.

    Raises:
        EntryPointError: there is no such code. The reward itself raises TypeError where the user's returns no number.
    """
    if not is_entry_point(name):
        return lambda satisfaction, image, graph: reward_of(satisfaction, name)
    own = load_entry_point("rollout.reward", name)

    def reward(satisfaction: Sequence[float], image: np.ndarray, graph: SceneGraph) -> float:
        value = own(satisfaction, image, graph)
        if not isinstance(value, Real):
            raise TypeError(f"rollout.reward: {name} returned {type(value).__name__} {value!r}; return one float")
        return float(value)

    return reward
