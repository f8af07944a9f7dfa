"""Boxes that a detector found, and which of them show the same thing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MOST_OVERLAP = 0.5
"""Intersection over union above which two boxes of one phrase show the same thing. The usual cut of a detector's
non-maximum suppression; GenEval suppresses nothing (`max_overlap` 1.0), as its detector has done so itself."""
MOST_DETECTIONS = 16
"""Boxes of one phrase that are kept, the surest ones: GenEval's `max_objects`."""


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels, x to the right and y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def centre(self) -> tuple[float, float]:
        """x and y of the middle."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    @property
    def size(self) -> tuple[float, float]:
        """Width and height."""
        return self.right - self.left, self.bottom - self.top

    @property
    def area(self) -> float:
        """Square pixels; 0 for a box that is turned inside out."""
        width, height = self.size
        return max(0.0, width) * max(0.0, height)

    def within(self, width: float, height: float) -> Box:
        """The part of it that lies in an image of this size."""
        left, right = (min(max(x, 0.0), width) for x in (self.left, self.right))
        top, bottom = (min(max(y, 0.0), height) for y in (self.top, self.bottom))
        return Box(left, top, right, bottom)


@dataclass(frozen=True)
class Detection:
    """One thing that a detector found: the phrase it was asked for, where it is, and how sure it is (0 to 1)."""

    phrase: str
    box: Box
    score: float


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes; 0 where neither has an area."""
    left, top = max(one.left, other.left), max(one.top, other.top)
    right, bottom = min(one.right, other.right), min(one.bottom, other.bottom)
    shared = Box(left, top, right, bottom).area if left < right and top < bottom else 0.0
    union = one.area + other.area - shared
    return shared / union if union > 0 else 0.0


def distinct(
    detections: Iterable[Detection], most_overlap: float = MOST_OVERLAP, most: int = MOST_DETECTIONS
) -> list[Detection]:
    """The detections without those that show again what a surer one of the same phrase shows, the surest first; at most
    `most` of each phrase. Boxes without an area are none."""
    kept: list[Detection] = []
    for one in sorted(detections, key=lambda detection: -detection.score):
        same = [other for other in kept if other.phrase == one.phrase]
        if one.box.area > 0 and len(same) < most and all(overlap(one.box, o.box) <= most_overlap for o in same):
            kept.append(one)
    return kept
