"""Turns for tests of scorers."""

from __future__ import annotations

from typing import Any

import numpy as np

from rewards.turn import ScoredTurn
from scenes.shape_world import sample_scene

SCENE = sample_scene(np.random.default_rng(0), img_id="scene", relations=(2, 2))
IMAGE = SCENE.image


def turn(**changes: Any) -> ScoredTurn:
    """A turn of the shape world; both images are its scene unless something else is said."""
    values: dict[str, Any] = {
        "group": 0,
        "stage": "actor",
        "graph": SCENE.graph,
        "source": IMAGE,
        "image": IMAGE,
        "satisfaction_before": [0.9, 0.2],
        "satisfaction_after": [0.9, 0.8],
        "reflection": "one is on the wrong side",
        "edit_prompt": f"move {SCENE.graph.items[0].name} left of {SCENE.graph.items[1].name}",
        "answer": "an answer",
        "tokens": 10,
    }
    return ScoredTurn(**{**values, **changes})


def picture(value: int, size: int = 64) -> np.ndarray:
    """A grey picture."""
    return np.full((size, size, 3), value, np.uint8)
