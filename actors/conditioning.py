"""What an edit's velocity depends on, and that velocity: shared by the rollout's side and the learner's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

_TIMESTEP_SCALE = 1000  # the pipeline gives the transformer t / 1000 with t = 1000·σ in the latents' dtype


@dataclass(frozen=True)
class Conditioning:
    """What an edit's velocity depends on besides latents and σ, for B samples of one image size.

    Attributes:
        image_latents: (B, S, C) packed latents of the source images, scaled and shifted as the pipeline does.
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

    def __len__(self) -> int:
        return len(self.image_latents)

    def take(self, rows: slice | Sequence[int] | torch.Tensor) -> Conditioning:
        """The conditioning of these samples; a row may be taken more than once."""
        return replace(
            self,
            image_latents=self.image_latents[rows],
            prompt_embeds=self.prompt_embeds[rows],
            pooled=self.pooled[rows],
        )


def velocity(
    transformer: torch.nn.Module, latents: torch.Tensor, conditioning: Conditioning, sigma: float | torch.Tensor
) -> torch.Tensor:
    """The velocity (B, S, C) of packed latents (B, S, C) at noise level `sigma`, one number or (B,).

    `transformer` is a FluxTransformer2DModel or anything that wraps its forward, such as a DeepSpeed engine. Latents
    are cast to the dtype of the source latents, as in the pipeline.
    """
    latents = latents.to(conditioning.image_latents)
    sigma = torch.as_tensor(sigma, dtype=torch.float32, device=latents.device).expand(len(latents))
    guidance = conditioning.guidance
    out = transformer(
        hidden_states=torch.cat([latents, conditioning.image_latents], dim=1),
        timestep=(sigma * _TIMESTEP_SCALE).to(latents.dtype) / _TIMESTEP_SCALE,
        guidance=None if guidance is None else torch.full((len(latents),), guidance, device=latents.device),
        pooled_projections=conditioning.pooled,
        encoder_hidden_states=conditioning.prompt_embeds,
        txt_ids=conditioning.text_ids,
        img_ids=conditioning.latent_ids,
        return_dict=False,
    )[0]
    return out[:, : latents.shape[1]]
