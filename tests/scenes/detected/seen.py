"""A detector of the shape world that needs no model, for tests: boxes around what the exact extractor finds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from scenes.detected.boxes import Box, Detection
from scenes.extractors import extract


def shapes_in(image: np.ndarray, phrases: Iterable[str], score: float = 0.8) -> list[Detection]:
    """A detection for each shape (`circle`, …) that is asked for and there."""
    asked = set(phrases)
    return [
        Detection(o.shape, Box(o.x - o.radius, o.y - o.radius, o.x + o.radius, o.y + o.radius), score)
        for o in extract(image).objects
        if o.shape in asked
    ]


def find_shapes(images: Sequence[np.ndarray], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
    """`shapes_in` for several images."""
    return [shapes_in(image, ones) for image, ones in zip(images, phrases, strict=True)]
