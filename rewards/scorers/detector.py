"""`detector`: the fraction of requirements that an open-vocabulary detector finds to hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rewards.detection.reader import DetectorReader
from rewards.turn import ScoredTurn


class DetectorScorer:
    """The fraction of a graph's requirements that hold in the edited image, among those that boxes decide.

    Args:
        reader: reads images.
    """

    def __init__(self, reader: DetectorReader) -> None:
        self._reader = reader

    def load(self) -> None:
        """Load the model, where it is not."""
        self._reader.load()

    def __call__(self, turns: Sequence[ScoredTurn]) -> list[float]:
        """One value in [0, 1] a turn; NaN where boxes decide none of its requirements."""
        readings = self._reader.read([turn.graph for turn in turns], [turn.image for turn in turns])
        return [float("nan") if one.satisfied is None else one.satisfied for one in readings]


def detector_scorer(**options: Any) -> DetectorScorer:
    """The scorer with the options of its entry, which are those of `DetectorReader`.

    Raises:
        ValueError, TypeError: they do not fit.
    """
    return DetectorScorer(DetectorReader(**options))
