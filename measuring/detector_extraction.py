"""The extractor for images of any kind that asks nobody: an open-vocabulary detector, and rules on its boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from measuring.image_scorer import Unscored
from rewards.detection.reader import DetectorReader
from scenes.detected.reading import Reading, decidable
from scenes.scene_graph import Requirement, SceneGraph
from scenes.scene_graph_iou import SceneScores, check_requirements, compare


class DetectorExtractor:
    """Scores images by what a detector finds in them.

    Only requirements that boxes decide count, see `scenes.detected.reading`; an image with none of these stays
    unscored. Items are all those of the graph. As the detector is asked for these alone, Entity-IoU is the fraction of
    items that were found.

    Args:
        reader: reads images.
    """

    def __init__(self, reader: DetectorReader) -> None:
        self._reader = reader
        self._asked = self._undecided = 0

    def score(self, graphs: Sequence[SceneGraph], images: Sequence[np.ndarray]) -> list[SceneScores | Unscored]:
        """The IoUs for each image (uint8, H×W×3).

        Raises:
            ValueError: as many graphs as images are needed, each with a requirement.
        """
        for graph in graphs:
            check_requirements(graph)
        readings = self._reader.read(graphs, images)
        return [self._score(graph, reading) for graph, reading in zip(graphs, readings, strict=True)]

    def _score(self, graph: SceneGraph, reading: Reading) -> SceneScores | Unscored:
        self._asked += len(graph.requirements)
        self._undecided += len(graph.requirements) - len(decidable(graph))
        scores = scores_of(graph, reading)
        return Unscored("boxes decide none of its requirements") if scores is None else scores

    def report(self) -> dict[str, Any]:
        counts = {"requirements": self._asked, "undecided_requirements": self._undecided}
        return {"extractor": "detector", **self._reader.report(), **counts}


def scores_of(graph: SceneGraph, reading: Reading) -> SceneScores | None:
    """The IoUs of what was read of an image, of the requirements that boxes decide; None where there is none."""
    requirements = decidable(graph)
    if not requirements:
        return None
    found = reading.triples
    asked = {one.triple for one in requirements if isinstance(one, Requirement)}
    others = [(v.requirement.kind, v.holds) for v in reading.verdicts if v.requirement.kind != "relation"]
    decided = [(kind, holds) for kind, holds in others if holds is not None]
    predicates = {predicate for _, predicate, _ in found}
    return compare(set(graph.names), asked, set(reading.names), found, predicates, decided)
