"""One edited image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from actors.flow_path import FlowPath


@dataclass(frozen=True)
class Edit:
    """What the Inverse Diffuser returns for one request.

    Attributes:
        image: (H, W, 3) uint8.
        path: the stochastic steps, where they were asked for.
        version: version of the editor's weights that made it; 0 is the model as it lies on disk.
    """

    image: np.ndarray
    path: FlowPath | None = None
    version: int = 0
