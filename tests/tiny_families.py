"""Tiny editors of the large presets' architectures, with what they are loaded and adapted with."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from benchmarks.tiny_families.flux import build_flux_kontext
from benchmarks.tiny_families.flux2 import build_flux2_klein
from benchmarks.tiny_families.qwen_image import build_qwen_image_edit
from scenes.pictures.size import PictureSize

SIZE = 64
SQUARE, WIDE = PictureSize(SIZE, SIZE), PictureSize(96, 64)


@dataclass(frozen=True)
class EditorFamily:
    """A tiny editor: how its folder is made, and what it is loaded and adapted with."""

    build: Any
    settings: dict[str, Any] = field(default_factory=dict)
    target_modules: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "to_add_out")


def images(count: int, size: PictureSize = SQUARE) -> list[np.ndarray]:
    """Noise, different for each."""
    return [np.random.default_rng(k).integers(0, 256, size.shape, dtype=np.uint8) for k in range(count)]


EDITORS = {
    "flux-kontext": EditorFamily(
        build_flux_kontext, {"image_size": SIZE, "guidance_scale": 2.5, "max_sequence_length": 48}
    ),
    "flux2-klein": EditorFamily(
        build_flux2_klein, {"image_size": SIZE, "guidance_scale": 4.0, "max_sequence_length": 64}
    ),
    "qwen-image-edit": EditorFamily(
        build_qwen_image_edit, {"image_size": SIZE, "guidance_scale": 4.0, "source_size": 96}
    ),
    "qwen-image-edit-plus": EditorFamily(
        partial(build_qwen_image_edit, plus=True), {"image_size": SIZE, "guidance_scale": 4.0, "source_size": 96}
    ),
}
