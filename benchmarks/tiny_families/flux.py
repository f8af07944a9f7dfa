"""Tiny, randomly initialised FLUX.1 models: a few thousand parameters, with the folder layout, tokenizers and scheduler
of the real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.random_flux import VAE, scheduler, tokenizers
from benchmarks.tiny_families.qwen_vl import spread, vivid

_HEADS, _HEAD = 2, 16
_WIDTH = _HEADS * _HEAD


def flux_parts(seed: int = 0, guidance_embeds: bool = True) -> dict[str, Any]:
    """The components of FLUX.1 [dev] and FLUX.1 Kontext [dev]."""
    from diffusers import AutoencoderKL, FluxTransformer2DModel
    from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

    tokenizer, tokenizer_2 = tokenizers()
    torch.manual_seed(seed)
    return {
        "scheduler": scheduler(),
        "vae": vivid(
            AutoencoderKL(**VAE, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4),
            torch.randn(8, VAE["latent_channels"], 8, 8, generator=torch.Generator().manual_seed(seed)),
        ),
        "text_encoder": CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=_WIDTH,
                intermediate_size=_WIDTH,
                num_hidden_layers=1,
                num_attention_heads=_HEADS,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
            )
        ),
        "tokenizer": tokenizer,
        "text_encoder_2": T5EncoderModel(
            T5Config(
                vocab_size=len(tokenizer_2),
                d_model=_WIDTH,
                d_kv=_HEAD,
                d_ff=_WIDTH,
                num_layers=1,
                num_heads=_HEADS,
                feed_forward_proj="gated-gelu",
            )
        ),
        "tokenizer_2": tokenizer_2,
        "transformer": spread(
            FluxTransformer2DModel(
                in_channels=64,
                num_layers=1,
                num_single_layers=2,
                attention_head_dim=_HEAD,
                num_attention_heads=_HEADS,
                joint_attention_dim=_WIDTH,
                pooled_projection_dim=_WIDTH,
                guidance_embeds=guidance_embeds,
                axes_dims_rope=(4, 6, 6),
            ),
            seed,
        ),
    }


def build_flux_kontext(folder: Path, seed: int = 0) -> Path:
    """FLUX.1 Kontext [dev]."""
    from diffusers import FluxKontextPipeline

    FluxKontextPipeline(**flux_parts(seed)).save_pretrained(folder)
    return folder


def build_flux(folder: Path, seed: int = 0) -> Path:
    """FLUX.1 [dev], which draws."""
    from diffusers import FluxPipeline

    FluxPipeline(**flux_parts(seed)).save_pretrained(folder)
    return folder
