"""What an edit's velocity depends on, and that velocity: shared by the rollout's side and the learner's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

_TIMESTEP_SCALE = 1000  # the pipelines give the transformer t / 1000 with t = 1000·σ in the latents' dtype

Rows = slice | Sequence[int] | torch.Tensor
Network = Callable[..., tuple[torch.Tensor, ...]]  # a family's transformer called with return_dict=False


class Conditioning(ABC):
    """What an edit's velocity depends on besides latents and σ, for B samples of one image size. Each family of models
    has its own.

    Attributes:
        image_latents: (B, S', C) packed latents of the source images, scaled and shifted as the pipeline does.
    """

    image_latents: torch.Tensor

    def __len__(self) -> int:
        return len(self.image_latents)

    def zeros(self) -> torch.Tensor:
        """Latents (B, S, C) of zeros, of the size that the conditioning is for."""
        return torch.zeros_like(self.image_latents)

    @abstractmethod
    def take(self, rows: Rows) -> Conditioning:
        """The conditioning of these samples; a row may be taken more than once."""

    @abstractmethod
    def predict(self, transformer: Network, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """The velocity (B, S, C) that the family's pipeline steps with, guidance included.

        Args:
            transformer: the family's transformer, or what wraps its forward.
            latents: (B, S, C) in the dtype of `image_latents`.
            timestep: (B,) σ, as the pipeline rounds it.
        """


def velocity(
    transformer: Network, latents: torch.Tensor, conditioning: Conditioning, sigma: float | torch.Tensor
) -> torch.Tensor:
    """The velocity (B, S, C) of packed latents (B, S, C) at noise level `sigma`, one number or (B,).

    `transformer` is the family's transformer or anything that wraps its forward, such as a DeepSpeed engine. Latents
    are cast to the dtype of the source latents, as in the pipelines.
    """
    latents = latents.to(conditioning.image_latents)
    sigma = torch.as_tensor(sigma, dtype=torch.float32, device=latents.device).expand(len(latents))
    return conditioning.predict(transformer, latents, (sigma * _TIMESTEP_SCALE).to(latents.dtype) / _TIMESTEP_SCALE)


@torch.no_grad()
def denoised(pipe: Any, latents: torch.Tensor, conditioning: Conditioning, steps: int, mu: float) -> torch.Tensor:
    """Packed latents (B, S, C) of images: `steps` steps of the pipeline's scheduler from these first latents.

    Args:
        mu: by how much the scheduler shifts its σ, as the family's pipeline computes it.
    """
    scheduler = pipe.scheduler
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), device=latents.device, mu=mu)
    scheduler.set_begin_index(0)
    for sigma, timestep in zip(scheduler.sigmas, scheduler.timesteps, strict=False):
        predicted = velocity(pipe.transformer, latents, conditioning, sigma)
        latents = scheduler.step(predicted, timestep, latents, return_dict=False)[0]
    return latents
