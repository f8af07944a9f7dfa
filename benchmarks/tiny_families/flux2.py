"""A tiny, randomly initialised FLUX.2 klein, with the folder layout, tokenizer and scheduler of the real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.tiny_families.qwen_vl import CHAT_TEMPLATE, END, SPECIAL, byte_tokenizer, spread, vivid

_HEADS, _HEAD, _TEXT = 2, 16, 16
_TEXT_LAYERS = 27  # the pipeline reads the 9th, the 18th and the 27th


def build_flux2_klein(folder: Path, seed: int = 0, distilled: bool = False) -> Path:
    """FLUX.2 klein 4B, base or distilled."""
    from diffusers import AutoencoderKLFlux2, Flux2Transformer2DModel
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = text_tokenizer()
    torch.manual_seed(seed)
    vae = AutoencoderKLFlux2(
        block_out_channels=(8, 8, 8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=4, sample_size=64
    )
    vae.bn.running_mean.normal_(0.0, 0.5)
    vae.bn.running_var.uniform_(0.5, 2.0)
    vae = vivid(vae, torch.randn(8, 4, 8, 8, generator=torch.Generator().manual_seed(seed)))
    text_encoder = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=_TEXT,
            intermediate_size=_TEXT,
            num_hidden_layers=_TEXT_LAYERS,
            num_attention_heads=1,
            num_key_value_heads=1,
            head_dim=_TEXT,
        )
    ).eval()
    transformer = spread(
        Flux2Transformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=2,
            attention_head_dim=_HEAD,
            num_attention_heads=_HEADS,
            joint_attention_dim=3 * _TEXT,
            timestep_guidance_channels=32,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=False,
        ),
        seed,
    )
    parts = {"vae": vae, "text_encoder": text_encoder, "tokenizer": tokenizer, "transformer": transformer}
    return write_flux2_klein(folder, parts, distilled)


def write_flux2_klein(folder: Path, parts: dict[str, Any], distilled: bool) -> Path:
    """Write these parts of any size with the real one's scheduler."""
    from diffusers import FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline

    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0)
    Flux2KleinPipeline(scheduler=scheduler, is_distilled=distilled, **parts).save_pretrained(folder)
    return folder


def text_tokenizer() -> Any:
    """The text encoder's, without a merge."""
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL})
    tokenizer.eos_token, tokenizer.pad_token, tokenizer.chat_template = END, "<|endoftext|>", CHAT_TEMPLATE
    return tokenizer
