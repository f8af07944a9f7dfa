"""Scoring images against their scene graphs: what an evaluation is given to measure with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from scenes.extractors import extract
from scenes.scene_graph import SceneGraph
from scenes.scene_graph_iou import SceneScores, score

Score = TypeVar("Score")

_REASONS_SHOWN = 20


@dataclass(frozen=True)
class Unscored:
    """An image that could not be scored, which is no score of zero: means leave it out."""

    reason: str


class ImageScorer(Protocol[Score]):
    """Scores images: an extractor gives `SceneScores`, a judge the fraction of requirements that it finds met."""

    def score(self, graphs: Sequence[SceneGraph], images: Sequence[np.ndarray]) -> list[Score | Unscored]:
        """One result for each image (uint8, H×W×3), in their order."""
        ...

    def report(self) -> dict[str, Any]:
        """What scored, and what it cost so far."""
        ...


class ExactExtractor:
    """The extractor of the shape world, which reads every image."""

    def score(self, graphs: Sequence[SceneGraph], images: Sequence[np.ndarray]) -> list[SceneScores | Unscored]:
        return [score(graph, extract(image)) for graph, image in zip(graphs, images, strict=True)]

    def report(self) -> dict[str, Any]:
        return {"extractor": "exact"}


def tally(results: Sequence[object]) -> dict[str, Any]:
    """How many images were scored, how many were not, and why: `reasons` holds the most frequent ones."""
    reasons = Counter(result.reason for result in results if isinstance(result, Unscored))
    shown = dict(reasons.most_common(_REASONS_SHOWN))
    if rest := reasons.total() - sum(shown.values()):
        shown["other reasons"] = rest
    return {"n_scored": len(results) - reasons.total(), "n_failed": reasons.total(), "reasons": shown}
