"""What each cell of a picture shows: the labels that tie places to names while the small models are trained."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from scenes.shape_world import COLOURS, SHAPES, SIZE, PlacedObject

GRID = 8  # cells along a side; a cell of 8×8 pixels is one packed latent of the pipeline and one patch of the VLMs
NAMES = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
_LABELS = 1 + len(NAMES)
_BACKGROUND_WEIGHT = 0.2  # in a mean over cells, most of which are background


def cell_labels(objects: tuple[PlacedObject, ...]) -> np.ndarray:
    """int64 (64,), row by row: 0 for background, otherwise 1 + the index in `NAMES` of the object that covers the
    cell's centre."""
    middles = (np.arange(GRID) + 0.5) * (SIZE / GRID)
    distances = np.stack([np.hypot(middles[None] - o.x, middles[:, None] - o.y) - o.radius for o in objects])
    names = np.array([1 + NAMES.index(o.name) for o in objects])
    return np.where(distances.min(0) <= 0, names[distances.argmin(0)], 0).ravel()


class CellNaming(torch.nn.Linear):
    """Names what each cell shows from the features that a network has of it. It is thrown away after training."""

    def __init__(self, width: int) -> None:
        super().__init__(width, _LABELS)
        self._weights = torch.tensor([_BACKGROUND_WEIGHT] + [1.0] * (_LABELS - 1))

    def loss(self, features: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of features (B, 64, width) against the labels `shown` (B, 64) of `cell_labels`."""
        return F.cross_entropy(self(features.float()).flatten(0, 1), shown.flatten(), self._weights)
