"""Where an image shows an item, for scorers that cut it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rewards.detection.detector import Detector, DetectorSettings
from scenes.detected.boxes import distinct
from scenes.detected.reading import Find, fitting, phrase_of
from scenes.scene_graph import Item

Box = Sequence[float]
"""Left, top, right, bottom in pixels."""
Boxes = Callable[[np.ndarray, str], Sequence[Box]]
"""Where an image (H, W, 3) shows an item of this name; none where it does not."""


class DetectorBoxes:
    """`Boxes` of a detector: all that fit the name, the surest first. Colours in the name are read from the pixels, a
    number at its end is not looked for.

    Args:
        settings: those of `DetectorSettings`.
        find: what detects instead of the model; nothing is loaded then.

    Raises:
        ValueError, TypeError: a setting that cannot be, or that there is not.
    """

    def __init__(self, settings: Mapping[str, Any], find: Find | None = None) -> None:
        self._find: Find = Detector(DetectorSettings(**settings)) if find is None else find

    def load(self) -> None:
        """Load the model, where it is not."""
        if isinstance(self._find, Detector):
            self._find.load()

    def __call__(self, image: np.ndarray, name: str) -> list[Box]:
        words = name.split()
        if len(words) > 1 and words[-1].isdigit():
            words = words[:-1]
        item = Item(0, words[-1], tuple(words[:-1]))
        (found,) = self._find([image], [[phrase_of(item)]])
        boxes = [one.box for one in fitting(item, image, distinct(found))]
        return [(box.left, box.top, box.right, box.bottom) for box in boxes]


def each_once(boxes: Boxes) -> Boxes:
    """`boxes` that looks for each name in each image object once, as members of a group share their source."""
    known: dict[tuple[int, str], tuple[np.ndarray, Sequence[Box]]] = {}

    def found(image: np.ndarray, name: str) -> Sequence[Box]:
        key = id(image), name
        if key not in known:
            known[key] = image, boxes(image, name)  # the image is held, so that its id stays its own
        return known[key][1]

    return found
