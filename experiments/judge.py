"""The judge: a VLM that is not the Checker (other seed, size and data), asked outside of the loop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from learner.pretraining.local_vlm import LocalVlm
from scenes.dialogue import checker_question
from scenes.scene_graph import SceneGraph


class Judge:
    """Scores images by the mean yes-probability over their requirements."""

    def __init__(self, folder: Path) -> None:
        self._vlm = LocalVlm(folder)

    def scores(self, graphs: Sequence[SceneGraph], images: Sequence[np.ndarray]) -> np.ndarray:
        """float64 (N,), each in [0, 1]: how far each image shows its graph."""
        owners = [k for k, graph in enumerate(graphs) for _ in graph.requirements]
        requests = [checker_question(requirement) for graph in graphs for requirement in graph.requirements]
        probabilities = self._vlm.yes_probabilities(np.stack([images[k] for k in owners]), requests)
        totals = np.bincount(owners, weights=probabilities, minlength=len(graphs))
        return totals / np.bincount(owners, minlength=len(graphs))
