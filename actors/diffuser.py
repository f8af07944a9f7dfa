"""The Diffuser: a frozen text-to-image model. `ray.remote(Diffuser)` makes it a Ray actor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from actors.replica import Replica


class Diffuser(Replica):
    """Draws batches of images.

    Args:
        path: pipeline folder, or hub id.
        replica: the name by which this replica is known.
        threads: CPU threads of torch; several replicas with more than their share of the cores slow each other down.
        settings: everything else that ImageModel takes.

    Raises:
        ModelLoadError, ValueError: see `load_drawer`.
    """

    def __init__(self, path: str | Path, replica: str = "diffuser-0", threads: int = 1, **settings: Any) -> None:
        from actors.model_families import load_drawer  # loads diffusers, which whoever holds a handle does not need

        torch.set_num_threads(threads)
        self.replica = replica
        self.model = load_drawer(path, **settings)

    def draw(self, prompts: Sequence[str], seeds: Sequence[int], steps: int | None = None) -> list[np.ndarray]:
        """One (H, W, 3) uint8 image for each prompt; see ImageModel.draw."""
        images: list[np.ndarray] = self.model.draw(prompts, seeds, steps)
        return images
