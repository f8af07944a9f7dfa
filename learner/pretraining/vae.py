"""Train the VAE of the small image pipeline on drawn scenes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from learner.pretraining.flux_model import new_vae
from learner.pretraining.loop import LoopSettings, run_loop
from scenes.shape_world import draw, random_layout


@dataclass(frozen=True)
class VaeSettings:
    """`kl_weight` keeps latents near a unit Gaussian, which is what the flow starts from."""

    steps: int = 1000
    batch: int = 32
    kl_weight: float = 1e-3
    seed: int = 0


def images_to_tensor(images: np.ndarray) -> torch.Tensor:
    """uint8 (B, H, W, 3) → float32 (B, 3, H, W) in [−1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def random_images(rng: np.random.Generator, count: int) -> np.ndarray:
    """uint8 (count, 64, 64, 3): scenes of one to four objects of any combination."""
    return np.stack([draw(random_layout(rng, (1, 4))) for _ in range(count)])


def train_vae(settings: VaeSettings, work_dir: Path) -> AutoencoderKL:
    """Train from scratch (or resume), then set scaling and shift so that latents have mean 0 and deviation 1."""
    torch.manual_seed(settings.seed)
    vae = new_vae().train()

    def step(rng: np.random.Generator, _: int) -> dict[str, torch.Tensor]:
        pixels = images_to_tensor(random_images(rng, settings.batch)).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(pixels).latent_dist
            decoded = vae.decode(posterior.sample()).sample
        decoded = decoded.float()
        error = F.mse_loss(decoded, pixels) + 0.2 * F.l1_loss(decoded, pixels)
        kl = posterior.kl().float().mean() / posterior.mean[0].numel()
        return {"loss": error + settings.kl_weight * kl, "mse": F.mse_loss(decoded, pixels), "kl": kl}

    vae.to(memory_format=torch.channels_last)
    loop = LoopSettings(settings.steps, learning_rate=2e-3, weight_decay=0.0, seed=settings.seed, ema=0.99)
    run_loop("vae", {"vae": vae}, step, loop, work_dir)
    vae.to(memory_format=torch.contiguous_format).eval()
    with torch.no_grad():
        pixels = images_to_tensor(random_images(np.random.default_rng([settings.seed, 10**6]), 256))
        latents = vae.encode(pixels).latent_dist.mode()
    vae.register_to_config(scaling_factor=1.0 / float(latents.std()), shift_factor=float(latents.mean()))
    return vae
