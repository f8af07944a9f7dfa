"""Any text-to-image pipeline of diffusers as a frozen Diffuser, through its own call."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoPipelineForText2Image
from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING

from actors.image_model import batches, check_calls, noise_generators, step_count, to_images
from actors.pipelines.folder import load_pipeline
from actors.pipelines.text_encoders import Offload, place
from scenes.pictures.size import PictureSize

_NEGATIVE_PROMPT = " "


def draws(pipeline: str) -> bool:
    """Whether diffusers counts a pipeline class among those that draw from a prompt."""
    return any(known.__name__ == pipeline for known in AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values())


class AnyDrawer:
    """Draws with a pipeline that no family here is for: Z-Image, Qwen-Image, Stable Diffusion 3.5 and others.

    Args:
        path: pipeline folder, or hub id.
        settings: as `ImageModel` takes them. `guidance_scale` is that of classifier-free guidance, where the pipeline
            has it; 1 does without. `max_sequence_length` is for pipelines that have such a limit.

    Raises:
        ModelLoadError: no pipeline can be loaded from `path`.
    """

    def __init__(
        self,
        path: str | Path,
        image_size: int | tuple[int, int] = 64,
        steps: int = 8,
        max_sequence_length: int = 32,
        guidance_scale: float = 1.0,
        max_batch: int = 16,
        device: str = "cpu",
        dtype: str = "float32",
        text_offload: Offload = "none",
    ) -> None:
        self.pipe: Any = load_pipeline(AutoPipelineForText2Image, path, getattr(torch, dtype))
        self.texts = place(self.pipe, device, text_offload)
        self.size, self.steps, self.max_batch = PictureSize.of(image_size), steps, max_batch
        taken = inspect.signature(self.pipe.__call__).parameters
        self._settings: dict[str, Any] = {**self.size.sides, "output_type": "np"}
        if "max_sequence_length" in taken:
            self._settings["max_sequence_length"] = max_sequence_length
        if "true_cfg_scale" in taken:  # its `guidance_scale`, where it has one, is for distilled models
            self._settings["true_cfg_scale"] = guidance_scale
            self._guided = {"negative_prompt": _NEGATIVE_PROMPT} if guidance_scale > 1 else {}
        else:
            self._settings["guidance_scale"] = guidance_scale
            self._guided = {}

    def draw(self, prompts: Sequence[str], seeds: Sequence[int], steps: int | None = None) -> list[np.ndarray]:
        """One (H, W, 3) uint8 image for each prompt.

        Raises:
            ValueError: lists of different lengths, a seed outside [0, 2³²), steps below 1, or a size that the pipeline
                does not make.
            FloatingPointError: the model produced pixels that are not finite.
        """
        check_calls(prompts, seeds)
        count = step_count(steps, self.steps)
        images: list[np.ndarray] = []
        for rows in batches(len(prompts), self.max_batch):
            asked = list(prompts[rows])
            negative = {name: [text] * len(asked) for name, text in self._guided.items()}
            pixels = self.pipe(
                prompt=asked,
                num_inference_steps=count,
                generator=noise_generators(seeds[rows]),
                **self._settings,
                **negative,
            ).images
            images += to_images(np.asarray(pixels), seeds[rows])
        if images and images[0].shape != self.size.shape:
            raise ValueError(
                f"diffuser.image_size: {self.size} is refused: {type(self.pipe).__name__} makes images of "
                f"{PictureSize.of_image(images[0])} then; set diffuser.width and diffuser.height so"
            )
        return images
