"""Edits by diffusers' own pipelines, with which those of the families are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit, pipeline_qwenimage_edit_plus
from PIL import Image

from actors.flux2_model import Flux2KleinModel
from actors.flux_model import FluxModel
from actors.image_model import ImageModel
from tests.tiny_families import images

PROMPTS = ["move the red circle left of the blue square", "make it green"]
SEEDS = [5, 6]
STEPS = 5


def pipelines_edit(
    editor: ImageModel, monkeypatch: pytest.MonkeyPatch, row: int, steps: int = STEPS, beside: np.ndarray | None = None
) -> tuple[np.ndarray, torch.Tensor]:
    """What the family's own pipeline makes of one image, or of it with another `beside` it, and one prompt: pixels, and
    the latents after each step."""
    pipe, latents = editor.pipe, list[torch.Tensor]()
    image = Image.fromarray(images(2, editor.size)[row])
    settings: dict[str, Any] = {
        "image": image if beside is None else [image, Image.fromarray(beside)],
        "prompt": PROMPTS[row],
        "height": editor.size.height,
        "width": editor.size.width,
        "num_inference_steps": steps,
        "generator": torch.Generator().manual_seed(SEEDS[row]),
        "callback_on_step_end": lambda pipe, step, t, tensors: latents.append(tensors["latents"]) or {},
    }
    if isinstance(editor, FluxModel):
        settings |= {
            "guidance_scale": editor.guidance_scale,
            "max_sequence_length": editor.max_sequence_length,
            "max_area": editor.size.width * editor.size.height,
            "_auto_resize": False,
        }
    elif isinstance(editor, Flux2KleinModel):
        settings |= {"guidance_scale": editor.guidance_scale, "max_sequence_length": editor.max_sequence_length}
    else:
        settings |= {"true_cfg_scale": editor.guidance_scale, "negative_prompt": " "}
        area = editor.source_size**2  # the pipeline's own is 1024², which takes minutes here
        rounded = pipeline_qwenimage_edit_plus.calculate_dimensions
        monkeypatch.setattr(
            pipeline_qwenimage_edit, "calculate_dimensions", lambda _, ratio: (*rounded(area, ratio), None)
        )
        monkeypatch.setattr(pipeline_qwenimage_edit_plus, "VAE_IMAGE_SIZE", area)
    return np.asarray(pipe(**settings).images[0]), torch.stack(latents)


def apart(a: np.ndarray, b: np.ndarray) -> int:
    """Grey levels between two images, at most."""
    return int(np.abs(a.astype(int) - b.astype(int)).max())
