"""What a detector sees of scene graphs in images: the model, and the rules that read its boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rewards.detection.detector import Detector, DetectorSettings
from scenes.detected.reading import Find, Reading, phrases_of, read
from scenes.detected.relations import RULES, Rule
from scenes.scene_graph import SceneGraph


class DetectorReader:
    """Reads images by a detector.

    Args:
        model, threshold, batch, device: see `DetectorSettings`.
        rule: how boxes become relations, `geneval` or `visor`, see `scenes.detected.relations`.
        find: what detects instead of the model; nothing is loaded then.

    Raises:
        ValueError: a setting that cannot be; the message names the key.
    """

    def __init__(
        self,
        model: str,
        threshold: float | None = None,
        batch: int = 8,
        device: str | None = None,
        rule: Rule = "geneval",
        find: Find | None = None,
    ) -> None:
        if rule not in RULES:
            raise ValueError(f"rule: {rule!r} is refused: must be {' or '.join(RULES)}")
        self._model, self._rule = model, rule
        self._threshold: float | None = threshold
        if find is None:
            settings = DetectorSettings(model, threshold, batch, device)
            find, self._threshold = Detector(settings), settings.least_score
        self._find = find

    def load(self) -> None:
        """Load the model, where it is not."""
        if isinstance(self._find, Detector):
            self._find.load()

    def read(self, graphs: Sequence[SceneGraph], images: Sequence[np.ndarray]) -> list[Reading]:
        """What each image (uint8, H×W×3) shows of its graph.

        Raises:
            ValueError: as many graphs as images are needed.
        """
        found = self._find(images, [phrases_of(graph) for graph in graphs])
        return [read(graph, image, ones, self._rule) for graph, image, ones in zip(graphs, images, found, strict=True)]

    def report(self) -> dict[str, Any]:
        """Which model detects, the least score that counts, and the rule."""
        return {"model": self._model, "threshold": self._threshold, "rule": self._rule}
