"""FLUX.1 and FLUX.1-Kontext: one pipeline that draws without a source image and edits with one.

`conditioning` and `velocity` compute what diffusers' `FluxKontextPipeline.__call__` computes, so that log-probabilities
of rollout and learner agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from diffusers import FluxKontextPipeline
from PIL import Image

from actors.conditioning import Conditioning, Network, Rows
from actors.image_model import ImageModel, noise_generators
from actors.pipelines.encodings import Encoding
from actors.repeats import without_repeats


@dataclass(frozen=True)
class FluxConditioning(Conditioning):
    """What a FLUX transformer is given besides latents and σ, for B samples.

    Attributes:
        image_latents: (B, S, C) packed latents of the source images.
        prompt_embeds: (B, L, D) T5 embeddings.
        pooled: (B, P) pooled CLIP embeddings.
        text_ids: (L, 3) positions of the text tokens.
        latent_ids: (2S, 3) positions of the latent tokens, then of the source tokens.
        guidance: guidance scale; None for a model without `guidance_embeds`.
    """

    image_latents: torch.Tensor
    prompt_embeds: torch.Tensor
    pooled: torch.Tensor
    text_ids: torch.Tensor
    latent_ids: torch.Tensor
    guidance: float | None

    def take(self, rows: Rows) -> FluxConditioning:
        return replace(
            self,
            image_latents=self.image_latents[rows],
            prompt_embeds=self.prompt_embeds[rows],
            pooled=self.pooled[rows],
        )

    def predict(self, transformer: Network, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        guidance = self.guidance
        out = transformer(
            hidden_states=torch.cat([latents, self.image_latents], dim=1),
            timestep=timestep,
            guidance=None if guidance is None else torch.full((len(latents),), guidance, device=latents.device),
            pooled_projections=self.pooled,
            encoder_hidden_states=self.prompt_embeds,
            txt_ids=self.text_ids,
            img_ids=self.latent_ids,
            return_dict=False,
        )[0]
        return out[:, : latents.shape[1]]


class FluxModel(ImageModel):
    """A FLUX pipeline. `guidance_scale` is given to models with `guidance_embeds`, as both FLUX.1 [dev] have them; it
    does nothing to others."""

    pipeline = FluxKontextPipeline

    @property
    def call_arguments(self) -> dict[str, Any]:
        return {
            **self.size.sides,
            "max_area": self.size.pixels,
            "_auto_resize": False,
            "max_sequence_length": self.max_sequence_length,
            "guidance_scale": self.guidance_scale,
        }

    def _draw(self, prompts: Sequence[str], seeds: Sequence[int], steps: int) -> np.ndarray:
        return self._call(prompts, seeds, steps)

    def _edit(
        self, images: Sequence[np.ndarray], prompts: Sequence[str], seeds: Sequence[int], steps: int
    ) -> np.ndarray:
        return self._call(prompts, seeds, steps, image=self._source_latents(images))

    def _condition(self, images: Sequence[np.ndarray], prompts: Sequence[str]) -> FluxConditioning:
        pipe = self.pipe
        embeds, pooled, text_ids = self._prompt_embeds(prompts)
        _, image_latents, latent_ids, image_ids = pipe.prepare_latents(
            self._source_latents(images),
            len(prompts),
            pipe.transformer.config.in_channels // 4,
            self.size.height,
            self.size.width,
            embeds.dtype,
            pipe.vae.device,
            noise_generators([0] * len(prompts)),  # the first noise is thrown away; the global stream stays as it is
        )
        guidance = self.guidance_scale if pipe.transformer.config.guidance_embeds else None
        return FluxConditioning(image_latents, embeds, pooled, text_ids, torch.cat([latent_ids, image_ids]), guidance)

    @torch.no_grad()
    def _source_latents(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """(B, C, h, w): latents as the pipeline makes and also takes them. Equal images are encoded once."""
        firsts, places = without_repeats([image.tobytes() for image in images])
        vae = self.pipe.vae
        pixels = self.pipe.image_processor.preprocess([Image.fromarray(images[first]) for first in firsts])
        # One generator an image makes the pipeline encode them one by one, so that none depends on the others.
        latents = self.pipe._encode_vae_image(pixels.to(vae.device, vae.dtype), noise_generators([0] * len(firsts)))
        picked: torch.Tensor = latents[places]
        return picked

    @torch.no_grad()
    def _prompt_embeds(self, prompts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """T5 embeddings (B, L, D), CLIP's (B, P) and positions (L, 3). Equal prompts are encoded once."""
        firsts, places = without_repeats(prompts)
        asked = [prompts[first] for first in firsts]

        def encode(rows: list[int]) -> Encoding:
            embeds, pooled, text_ids = self.pipe.encode_prompt(
                prompt=[asked[row] for row in rows],
                max_sequence_length=self.max_sequence_length,
                device=self.pipe.vae.device,
            )
            return embeds, pooled, text_ids.expand(len(rows), -1, -1)

        embeds, pooled, text_ids = self._encoded(asked, encode)
        return embeds[places], pooled[places], text_ids[0]

    def _call(self, prompts: Sequence[str], seeds: Sequence[int], steps: int, **kwargs: Any) -> np.ndarray:
        embeds, pooled, _ = self._prompt_embeds(prompts)
        drawn: np.ndarray = self.pipe(
            prompt_embeds=embeds,
            pooled_prompt_embeds=pooled,
            **self.call_arguments,
            num_inference_steps=steps,
            generator=noise_generators(seeds),
            output_type="np",
            **kwargs,
        ).images
        return drawn
