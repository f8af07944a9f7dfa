"""`preservation`: what the edit is not about stays as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from rewards.detection.boxes import Box, Boxes, DetectorBoxes, each_once
from rewards.scorers.structural_similarity import masked_ssim
from rewards.turn import ScoredTurn
from scenes.entry_point import load_entry_point

_BLUR = 5  # pixels around one that change with it
_LIMIT = 64.0  # grey levels in the mean of a distance that is worth 0


class Preservation:
    """How much of the source is left outside the object that moves.

    What moves is cut out: the boxes of the item that the edit prompt names first, in the source and the edited image,
    each with a margin of a tenth; or, where nothing finds boxes, the `share` of the pixels whose neighbourhood changed
    most. Over the other pixels the value is `masked_ssim`, not below 0, or with `measure: distance`
    `1 − min(1, mean|after − before| / 64)`.

    Args:
        measure: ssim or distance.
        share: part of the pixels that one edit may change, where no boxes are found: from 0 to below 1.
        boxes: `module:name` of a function that finds items, see `Boxes`; or the settings of a detector that does so,
            see `rewards.detection.detector.DetectorSettings`.

    Raises:
        ValueError: a measure that there is not, a share out of its range, or a detector that there is not.
        EntryPointError: there is no such code.
    """

    def __init__(
        self,
        measure: Literal["ssim", "distance"] = "ssim",
        share: float = 0.25,
        boxes: str | Mapping[str, Any] | None = None,
    ) -> None:
        if measure not in ("ssim", "distance"):
            raise ValueError(f"measure: {measure!r} is refused: must be ssim or distance")
        if not 0 <= share < 1:
            raise ValueError(f"share: {share} is refused: must be from 0 to below 1")
        self._measure, self._share = measure, share
        self._boxes: Boxes | None = None
        if isinstance(boxes, str):
            self._boxes = load_entry_point("rewards.options.boxes", boxes)
        elif boxes is not None:
            self._boxes = DetectorBoxes(boxes)

    def load(self) -> None:
        """Load the detector of `boxes`, where there is one."""
        if isinstance(self._boxes, DetectorBoxes):
            self._boxes.load()

    def __call__(self, turns: Sequence[ScoredTurn]) -> list[float]:
        """One value in [0, 1] a turn; NaN where the images have different sizes, or all of them is cut out."""
        boxes = None if self._boxes is None else each_once(self._boxes)
        return [self._value(turn, boxes) for turn in turns]

    def _value(self, turn: ScoredTurn, boxes: Boxes | None) -> float:
        if turn.source.shape != turn.image.shape:
            return float("nan")
        if turn.still or turn.source is turn.image:
            return 1.0
        kept = _outside_boxes(turn, boxes)
        if kept is None:
            kept = least_changed(turn.source, turn.image, self._share)
        if self._measure == "ssim":
            value = masked_ssim(turn.source, turn.image, kept)
            return max(0.0, value) if np.isfinite(value) else value
        return masked_closeness(turn.source, turn.image, kept)


def _outside_boxes(turn: ScoredTurn, boxes: Boxes | None) -> np.ndarray | None:
    """The pixels outside the object that moves; None where it is not found in both images."""
    moved = first_named(turn.edit_prompt, [item.name for item in turn.graph.items])
    if boxes is None or moved is None:
        return None
    found = [list(boxes(image, moved)) for image in (turn.source, turn.image)]
    return outside(found[0] + found[1], turn.source.shape[:2]) if all(found) else None


def first_named(text: str, names: Sequence[str]) -> str | None:
    """The name that a text has first, the longest of those that begin at the same place; None where it has none."""
    places = [(text.lower().find(name.lower()), -len(name), name) for name in names]
    return min((place for place in places if place[0] >= 0), default=(0, 0, None))[2]


def least_changed(before: np.ndarray, after: np.ndarray, share: float) -> np.ndarray:
    """All pixels but the `share` of them that changed most: bool (H, W). The change of a pixel is the mean over
    channels of |after − before|, in a square of 5 pixels around it; equal changes are in or out together."""
    change = np.abs(after.astype(np.float32) - before).mean(axis=2)
    near = ndimage.uniform_filter(change, _BLUR, mode="nearest")
    kept: np.ndarray = near <= np.quantile(near, 1 - share) + 1e-3
    return kept


def outside(boxes: Sequence[Box], size: tuple[int, int]) -> np.ndarray:
    """The pixels outside these boxes, each a tenth larger on every side: bool, of `size` (height, width)."""
    kept = np.ones(size, dtype=bool)
    for left, top, right, bottom in boxes:
        wide, high = 0.1 * (right - left), 0.1 * (bottom - top)
        rows = slice(max(0, int(top - high)), max(0, int(np.ceil(bottom + high))))
        kept[rows, max(0, int(left - wide)) : max(0, int(np.ceil(right + wide)))] = False
    return kept


def masked_closeness(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> float:
    """`1 − min(1, mean|after − before| / 64)` over the pixels of a mask; NaN where it is empty."""
    if not mask.any():
        return float("nan")
    distance = np.abs(after.astype(np.float32) - before)[mask].mean(dtype=np.float64)
    return float(1 - min(1.0, distance / _LIMIT))
