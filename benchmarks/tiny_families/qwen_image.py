"""A tiny, randomly initialised Qwen-Image-Edit, with the folder layout, tokenizer and scheduler of the real one."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.tiny_families.qwen_vl import VLM_WIDTH, qwen_vl_model, qwen_vl_processor, spread, vivid

_HEADS, _HEAD = 2, 16


def build_qwen_image_edit(folder: Path, seed: int = 0, plus: bool = False) -> Path:
    """Qwen-Image-Edit, or Qwen-Image-Edit-2509 and later."""
    from diffusers import (
        AutoencoderKLQwenImage,
        FlowMatchEulerDiscreteScheduler,
        QwenImageEditPipeline,
        QwenImageEditPlusPipeline,
        QwenImageTransformer2DModel,
    )
    from transformers import Qwen2VLProcessor

    processor = qwen_vl_processor(Qwen2VLProcessor)
    text_encoder = qwen_vl_model(processor.tokenizer, seed)
    torch.manual_seed(seed)
    pipe = (QwenImageEditPlusPipeline if plus else QwenImageEditPipeline)(
        scheduler=FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02
        ),
        vae=vivid(
            AutoencoderKLQwenImage(
                base_dim=8,
                z_dim=4,
                dim_mult=[1, 1, 1, 1],
                num_res_blocks=1,
                latents_mean=[-0.7571, -0.7089, -0.9113, 0.1075],
                latents_std=[2.8184, 1.4541, 2.3275, 2.6558],
            ),
            2.0 * torch.randn(8, 4, 1, 8, 8, generator=torch.Generator().manual_seed(seed)),
        ),
        text_encoder=text_encoder,
        tokenizer=processor.tokenizer,
        processor=processor,
        transformer=spread(
            QwenImageTransformer2DModel(
                in_channels=16,
                out_channels=4,
                num_layers=2,
                attention_head_dim=_HEAD,
                num_attention_heads=_HEADS,
                joint_attention_dim=VLM_WIDTH,
                axes_dims_rope=(4, 6, 6),
            ),
            seed,
        ),
    )
    pipe.save_pretrained(folder)
    return folder
