"""A tiny, randomly initialised Z-Image, with the folder layout, tokenizer and scheduler of the real one."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.tiny_families.qwen_vl import CHAT_TEMPLATE, qwen_vl_processor, spread, vivid


def build_z_image(folder: Path) -> Path:
    """Z-Image Turbo."""
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel
    from transformers import Qwen2_5_VLProcessor, Qwen3Config, Qwen3ForCausalLM

    tokenizer = qwen_vl_processor(Qwen2_5_VLProcessor).tokenizer
    tokenizer.chat_template = CHAT_TEMPLATE
    torch.manual_seed(0)
    vae = AutoencoderKL(
        latent_channels=4, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        shift_factor=0.1, scaling_factor=0.4,
    )  # fmt: skip
    text = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=1,
        num_key_value_heads=1, head_dim=16,
    )  # fmt: skip
    transformer = ZImageTransformer2DModel(
        in_channels=4, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=16,
        axes_dims=[4, 6, 6], axes_lens=[256, 64, 64],
    )  # fmt: skip
    ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vivid(vae, torch.randn(8, 4, 8, 8)),
        text_encoder=Qwen3ForCausalLM(text).eval(),
        tokenizer=tokenizer,
        transformer=spread(transformer, 0),
    ).save_pretrained(folder)
    return folder
