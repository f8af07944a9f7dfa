"""The judge: a VLM that is not the Checker (other seed, size and data), asked outside of the loop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scenes.scene_graph import SceneGraph
from serving.checker import Checker
from serving.config import VlmConfig
from serving.local.vlm import LocalVlm


class Judge:
    """Scores images by the mean yes-probability over their requirements."""

    def __init__(self, folder: Path) -> None:
        self._checker = Checker(LocalVlm("judge", VlmConfig(model=str(folder))), least_mass=0.0)

    def scores(self, graphs: Sequence[SceneGraph], images: Sequence[np.ndarray]) -> np.ndarray:
        """float64 (N,), each in [0, 1]: how far each image shows its graph."""
        found = self._checker.satisfaction(images, [graph.requirements for graph in graphs])
        return np.array([np.mean(row) for row in found])
