"""FLUX.2 klein: one pipeline that draws without a source image and edits with one, on a Qwen3 text encoder.

It follows diffusers' `Flux2KleinPipeline.__call__`, whose own call takes a list of images for several sources of one
edit, and so cannot edit a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from diffusers import Flux2KleinPipeline
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from PIL import Image

from actors.conditioning import Conditioning, Network, Rows, denoised
from actors.image_model import ImageModel, noise_generators
from actors.pipelines.encodings import Encoding
from actors.repeats import without_repeats
from scenes.pictures.sources import sources_of


@dataclass(frozen=True)
class Flux2Conditioning(Conditioning):
    """What a FLUX.2 transformer is given besides latents and σ, for B samples.

    Attributes:
        image_latents: (B, S', C) packed latents of the source images, one after the other; S' is 0 where an image is
            drawn.
        text: (B, L, D) embeddings of the prompts.
        negative: (B, L, D) of the empty prompt; None where there is no guidance.
        text_ids: (L, 4) positions of the text tokens.
        latent_ids: (S + S', 4) positions of the latent tokens, then of the source tokens.
        guidance: classifier-free guidance scale.
    """

    image_latents: torch.Tensor
    text: torch.Tensor
    negative: torch.Tensor | None
    text_ids: torch.Tensor
    latent_ids: torch.Tensor
    guidance: float

    def zeros(self) -> torch.Tensor:
        own = int((self.latent_ids[:, 0] == 0).sum())  # sources lie at the times 10, 20 and so on
        return self.image_latents.new_zeros(len(self), own, self.image_latents.shape[-1])

    def take(self, rows: Rows) -> Flux2Conditioning:
        negative = None if self.negative is None else self.negative[rows]
        return replace(self, image_latents=self.image_latents[rows], text=self.text[rows], negative=negative)

    def predict(self, transformer: Network, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        def network(text: torch.Tensor) -> torch.Tensor:
            return transformer(
                hidden_states=torch.cat([latents, self.image_latents], dim=1),
                timestep=timestep,
                guidance=None,
                encoder_hidden_states=text,
                txt_ids=self.text_ids,
                img_ids=self.latent_ids,
                return_dict=False,
            )[0][:, : latents.shape[1]]

        towards = network(self.text)
        if self.negative is None:
            return towards
        away = network(self.negative)
        return away + self.guidance * (towards - away)


class Flux2KleinModel(ImageModel):
    """A FLUX.2 klein pipeline. `guidance_scale` is that of classifier-free guidance, with a second forward pass a step;
    1 does without, and so do the distilled models, whatever it is."""

    pipeline = Flux2KleinPipeline
    most_sources = 4

    @property
    def call_arguments(self) -> dict[str, Any]:
        return {
            **self.size.sides,
            "max_sequence_length": self.max_sequence_length,
            "guidance_scale": self.guidance_scale,
        }

    def _draw(self, prompts: Sequence[str], seeds: Sequence[int], steps: int) -> np.ndarray:
        return self._sample(self._conditioned(None, prompts), seeds, steps)

    def _edit(
        self, images: Sequence[np.ndarray], prompts: Sequence[str], seeds: Sequence[int], steps: int
    ) -> np.ndarray:
        return self._sample(self._conditioned(images, prompts), seeds, steps)

    def _condition(self, images: Sequence[np.ndarray], prompts: Sequence[str]) -> Flux2Conditioning:
        return self._conditioned(images, prompts)

    @torch.no_grad()
    def _conditioned(self, images: Sequence[np.ndarray] | None, prompts: Sequence[str]) -> Flux2Conditioning:
        guided = self.guidance_scale > 1 and not self.pipe.config.is_distilled
        firsts, places = without_repeats(prompts)
        embeds, text_ids = self._text([*(prompts[first] for first in firsts), *([""] if guided else [])])
        negative = embeds[-1:].expand(len(prompts), -1, -1) if guided else None
        _, latent_ids = self._noise([0])
        sources = embeds.new_zeros(len(prompts), 0, self.transformer.config.in_channels)
        if images is not None:
            sources, source_ids = self._sources(images)
            latent_ids = torch.cat([latent_ids, source_ids])
        return Flux2Conditioning(sources, embeds[places], negative, text_ids, latent_ids, self.guidance_scale)

    def _text(self, prompts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings (B, L, D) and positions (L, 4)."""

        def encode(rows: list[int]) -> Encoding:
            embeds, ids = self.pipe.encode_prompt(
                prompt=[prompts[row] for row in rows],
                max_sequence_length=self.max_sequence_length,
                device=self.pipe.vae.device,
            )
            return embeds, ids

        embeds, ids = self._encoded(prompts, encode)
        return embeds, ids[0]

    def _sources(self, images: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        """Packed latents (B, S', C) of each edit's images, one after the other, and positions (S', 4). Each image is
        encoded by itself, and equal ones once."""
        pipe, size = self.pipe, self.size.sides
        count, every = len(sources_of(images[0])), [one for image in images for one in sources_of(image)]
        firsts, places = without_repeats([image.tobytes() for image in every])
        latents = []
        for first in firsts:
            pixels = pipe.image_processor.preprocess(Image.fromarray(every[first]), **size)
            latents.append(pipe._encode_vae_image(pixels.to(pipe.vae.device, pipe.vae.dtype), None))
        ids = pipe._prepare_image_ids(latents[:1] * count)[0].to(pipe.vae.device)
        packed = pipe._pack_latents(torch.cat(latents))[places]
        return packed.reshape(len(images), -1, packed.shape[-1]), ids

    def _noise(self, seeds: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """First latents (B, S, C), and positions (S, 4)."""
        pipe, (width, height) = self.pipe, self.size
        channels, device = self.transformer.config.in_channels // 4, pipe.vae.device
        latents, ids = pipe.prepare_latents(
            len(seeds), channels, height, width, pipe.text_encoder.dtype, device, noise_generators(seeds)
        )
        return latents, ids[0]

    @torch.no_grad()
    def _sample(self, conditioning: Flux2Conditioning, seeds: Sequence[int], steps: int) -> np.ndarray:
        latents, ids = self._noise(seeds)
        mu = compute_empirical_mu(latents.shape[1], steps)
        return self._decode(denoised(self.pipe, latents, conditioning, steps, mu), ids)

    def _decode(self, latents: torch.Tensor, ids: torch.Tensor) -> np.ndarray:
        """(B, H, W, 3) pixels of packed latents."""
        pipe, vae = self.pipe, self.pipe.vae
        rows, columns = self.size.tokens(pipe.vae_scale_factor * 2)
        latents = pipe._unpack_latents_with_ids(latents, ids.expand(len(latents), -1, -1), rows, columns)
        mean, variance = (values.view(1, -1, 1, 1).to(latents) for values in (vae.bn.running_mean, vae.bn.running_var))
        latents = latents * torch.sqrt(variance + vae.config.batch_norm_eps) + mean
        pixels = vae.decode(pipe._unpatchify_latents(latents).to(vae.dtype), return_dict=False)[0]
        images: np.ndarray = pipe.image_processor.postprocess(pixels, output_type="np")
        return images
