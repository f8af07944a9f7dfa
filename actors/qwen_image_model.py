"""Qwen-Image-Edit, and its versions 2509 and 2511, whose pipeline is "plus": editors whose text encoder, a Qwen2.5-VL,
sees the source image beside the prompt.

It follows diffusers' `QwenImageEditPipeline.__call__`, whose own call cannot take sources that are encoded already, so
that the members of a group would each pay for them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import QwenImageEditPipeline, QwenImageEditPlusPipeline
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit import calculate_shift
from PIL import Image

from actors.conditioning import Conditioning, Network, Rows, denoised
from actors.image_model import ImageModel, noise_generators
from actors.repeats import without_repeats
from scenes.pictures.size import PictureSize, nearest
from scenes.pictures.sources import sources_of

_NEGATIVE_PROMPT = " "  # what the model's authors guide away from
_SOURCE_SIZE = 1024  # of the pipeline, in pixels
_SHIFT = {"base_image_seq_len": 256, "max_image_seq_len": 4096, "base_shift": 0.5, "max_shift": 1.15}

Text = tuple[torch.Tensor, torch.Tensor]
"""Embeddings (B, L, D), and (B, L) true where they are not padding."""


@dataclass(frozen=True)
class QwenImageConditioning(Conditioning):
    """What a Qwen-Image transformer is given besides latents and σ, for B samples.

    Attributes:
        image_latents: (B, S', C) packed latents of the source images, one after the other.
        text: of the prompts, with their images.
        negative: of the negative prompt with each image; None where there is no guidance.
        grids: (frames, height, width) in tokens, of the latents and of each source.
        guidance: true classifier-free guidance scale.
    """

    image_latents: torch.Tensor
    text: Text
    negative: Text | None
    grids: tuple[tuple[int, int, int], ...]
    guidance: float

    def take(self, rows: Rows) -> QwenImageConditioning:
        return replace(
            self,
            image_latents=self.image_latents[rows],
            text=_rows(self.text, rows),
            negative=None if self.negative is None else _rows(self.negative, rows),
        )

    def zeros(self) -> torch.Tensor:
        frames, height, width = self.grids[0]
        batch, _, channels = self.image_latents.shape
        return self.image_latents.new_zeros(batch, frames * height * width, channels)

    def predict(self, transformer: Network, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        def network(text: Text) -> torch.Tensor:
            embeds, mask = text
            return transformer(
                hidden_states=torch.cat([latents, self.image_latents], dim=1),
                timestep=timestep,
                encoder_hidden_states=embeds,
                encoder_hidden_states_mask=None if bool(mask.all()) else mask,
                img_shapes=[list(self.grids)] * len(latents),
                return_dict=False,
            )[0][:, : latents.shape[1]]

        towards = network(self.text)
        if self.negative is None:
            return towards
        away = network(self.negative)
        guided = away + self.guidance * (towards - away)
        scale: torch.Tensor = torch.norm(towards, dim=-1, keepdim=True) / torch.norm(guided, dim=-1, keepdim=True)
        return guided * scale


class QwenImageModel(ImageModel):
    """A Qwen-Image-Edit pipeline.

    `guidance_scale` is that of true classifier-free guidance, with a second forward pass a step; 1 does without.
    Prompts are not cut: `max_sequence_length` does nothing, as in the pipeline.

    VAE and text encoder see a source image with its own ratio and about `source_size`² pixels, see
    `PictureSize.scaled_to`; the pipeline scales every image to about 1024².
    """

    pipeline = QwenImageEditPipeline
    sources_at = _SOURCE_SIZE
    text_size: ClassVar[int | None] = None
    """Side of the square with about as many pixels as the text encoder sees of a source; None: `source_size`."""
    source_size: int

    def __init__(self, path: str | Path, **settings: Any) -> None:
        super().__init__(path, **settings)
        if self.size.is_square and self._source.misfits(self._patch):
            raise ValueError(
                f"editor.source_size: {self.source_size} is refused: the model in {path} needs a multiple of "
                f"{self._patch}, as {nearest(self.source_size, self._patch)}"
            )
        if self._source.misfits(self._patch) or not all(self._read):
            raise ValueError(
                f"editor.source_size: {self.source_size} is refused for pictures of {self.size}: the model in {path} "
                f"would see them at {self._source}; take a larger one, or sides that differ less"
            )

    @property
    def call_arguments(self) -> dict[str, Any] | None:
        if self.source_size != _SOURCE_SIZE:  # the pipeline's own call takes no other
            return None
        return {**self.size.sides, "true_cfg_scale": self.guidance_scale, "negative_prompt": _NEGATIVE_PROMPT}

    def _draw(self, prompts: Sequence[str], seeds: Sequence[int], steps: int) -> np.ndarray:
        raise ValueError("Qwen-Image-Edit draws nothing without an image; load another pipeline to draw with")

    @torch.no_grad()
    def _edit(
        self, images: Sequence[np.ndarray], prompts: Sequence[str], seeds: Sequence[int], steps: int
    ) -> np.ndarray:
        pipe, scheduler = self.pipe, self.pipe.scheduler
        conditioning = self._condition(images, prompts)
        channels, dtype = pipe.transformer.config.in_channels // 4, conditioning.image_latents.dtype
        (width, height), device = self.size, pipe.vae.device
        latents, _ = pipe.prepare_latents(
            None, len(prompts), channels, height, width, dtype, device, noise_generators(seeds)
        )
        shift = [scheduler.config.get(name, value) for name, value in _SHIFT.items()]
        mu = calculate_shift(latents.shape[1], *shift)
        return self._decode(denoised(pipe, latents, conditioning, steps, mu))

    @torch.no_grad()
    def _condition(self, images: Sequence[np.ndarray], prompts: Sequence[str]) -> QwenImageConditioning:
        keys = [image.tobytes() for image in images]
        firsts, places = without_repeats(keys)
        sources = [[Image.fromarray(one) for one in sources_of(images[first])] for first in firsts]
        read = [self._resized(each, self._read) for each in sources]
        asked, prompt_places = without_repeats(list(zip(keys, prompts, strict=True)))
        known = [sha256(keys[first]).digest() for first in firsts]  # short, as it may be kept

        def text_of(prompts: Sequence[str], sources: Sequence[int]) -> Text:
            def encode(rows: list[int]) -> Text:
                return self._text([prompts[row] for row in rows], [read[sources[row]] for row in rows])

            told = [(prompt, known[source]) for prompt, source in zip(prompts, sources, strict=True)]
            embeds, mask = self._encoded(told, encode)
            return embeds, mask

        text = text_of([prompts[row] for row in asked], [places[row] for row in asked])
        negative = None
        if self.guidance_scale > 1:
            negative = _rows(text_of([_NEGATIVE_PROMPT] * len(firsts), range(len(firsts))), places)
        return QwenImageConditioning(
            self._source_latents([self._resized(each, self._source) for each in sources])[places],
            _rows(text, prompt_places),
            negative,
            ((1, *self.size.tokens(self._patch)), *[(1, *self._source.tokens(self._patch))] * len(sources[0])),
            self.guidance_scale,
        )

    @property
    def _source(self) -> PictureSize:
        """The size at which the VAE sees a source."""
        return self.size.scaled_to(self.source_size)

    @property
    def _read(self) -> PictureSize:
        """The size at which the text encoder sees a source."""
        return self.size.scaled_to(self.text_size or self.source_size)

    def _resized(self, images: Sequence[Image.Image], size: PictureSize) -> list[Image.Image]:
        resize = self.pipe.image_processor.resize  # it leaves a list as it is
        return [resize(image, size.height, size.width) for image in images]

    def _text(self, prompts: Sequence[str], sources: Sequence[Sequence[Image.Image]]) -> Text:
        every = [image for each in sources for image in each]
        embeds, mask = self.pipe.encode_prompt(image=every, prompt=list(prompts), device=self.pipe.vae.device)
        return embeds, torch.ones(embeds.shape[:2], device=embeds.device).bool() if mask is None else mask.bool()

    def _source_latents(self, sources: Sequence[Sequence[Image.Image]]) -> torch.Tensor:
        """(B, S', C) of each edit's sources, every one encoded by itself, so that none depends on the others."""
        pipe, size, every = self.pipe, self._source, [image for each in sources for image in each]
        pixels = pipe.image_processor.preprocess(every, size.height, size.width).unsqueeze(2)
        pixels = pixels.to(pipe.vae.device, pipe.vae.dtype)
        latents = pipe._encode_vae_image(pixels, noise_generators([0] * len(every)))
        packed: torch.Tensor = pipe._pack_latents(latents, len(latents), latents.shape[1], *latents.shape[3:])
        return packed.reshape(len(sources), -1, packed.shape[-1])

    def _decode(self, latents: torch.Tensor) -> np.ndarray:
        """(B, H, W, 3) pixels of packed latents."""
        pipe = self.pipe
        latents = pipe._unpack_latents(latents, self.size.height, self.size.width, pipe.vae_scale_factor)
        latents = latents.to(pipe.vae.dtype)
        mean, std = (
            torch.tensor(values).view(1, -1, 1, 1, 1).to(latents)
            for values in (pipe.vae.config.latents_mean, pipe.vae.config.latents_std)
        )
        pixels = pipe.vae.decode(latents / (1.0 / std) + mean, return_dict=False)[0][:, :, 0]
        images: np.ndarray = pipe.image_processor.postprocess(pixels, output_type="np")
        return images

    @property
    def _patch(self) -> int:
        """Pixels a side of one token."""
        latent: int = self.pipe.vae_scale_factor
        return latent * 2


class QwenImagePlusModel(QwenImageModel):
    """A Qwen-Image-Edit-Plus pipeline. Its text encoder sees a source image at about 384² pixels, and its own call
    edits one image at a time: it takes a list for several sources of one edit."""

    pipeline = QwenImageEditPlusPipeline
    most_sources = 3
    text_size = 384

    def _text(self, prompts: Sequence[str], sources: Sequence[Sequence[Image.Image]]) -> Text:
        alone = super()._text
        found = [alone([prompt], [source]) for prompt, source in zip(prompts, sources, strict=True)]
        longest = max(embeds.shape[1] for embeds, _ in found)

        def padded(tensor: torch.Tensor) -> torch.Tensor:
            room = tensor.new_zeros(1, longest - tensor.shape[1], *tensor.shape[2:])
            return torch.cat([tensor, room], dim=1)

        return torch.cat([padded(embeds) for embeds, _ in found]), torch.cat([padded(mask) for _, mask in found])


def _rows(text: Text, rows: Rows) -> Text:
    embeds, mask = text
    return embeds[rows], mask[rows]
