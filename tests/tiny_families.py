"""Randomly initialised models of the large presets' architectures, a few thousand parameters each, with the folder
layout, tokenizers and schedulers of the real ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.random_flux import VAE, scheduler, tokenizers

SIZE = 64
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SPECIAL = [
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
_HEADS, _HEAD = 2, 16
_WIDTH = _HEADS * _HEAD
_VLM_WIDTH = 64  # heads of 32: vLLM's CPU kernels take multiples of it


@dataclass(frozen=True)
class EditorFamily:
    """A tiny editor: how its folder is made, and what it is loaded and adapted with."""

    build: Any
    settings: dict[str, Any] = field(default_factory=dict)
    target_modules: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "to_add_out")


def images(count: int, size: int = SIZE) -> list[np.ndarray]:
    """Noise, different for each."""
    return [np.random.default_rng(k).integers(0, 256, (size, size, 3), dtype=np.uint8) for k in range(count)]


def _spread(module: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Weights large enough that every input shows in the output; the default initialisation keeps some at zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                fan_in = parameter[0].numel()
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan_in**0.5)
    return module.eval()


def flux_parts(seed: int = 0, guidance_embeds: bool = True) -> dict[str, Any]:
    """The components of FLUX.1 [dev] and FLUX.1 Kontext [dev]."""
    from diffusers import AutoencoderKL, FluxTransformer2DModel
    from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

    tokenizer, tokenizer_2 = tokenizers()
    torch.manual_seed(seed)
    return {
        "scheduler": scheduler(),
        "vae": AutoencoderKL(**VAE, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4),
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
        "transformer": _spread(
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


def qwen_tokenizer() -> Any:
    """Bytes, and the special tokens of Qwen2.5-VL."""
    from tokenizers import pre_tokenizers
    from transformers import Qwen2Tokenizer

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Qwen2Tokenizer(vocab={letter: k for k, letter in enumerate(letters)}, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": _SPECIAL})
    return tokenizer


def qwen_vl_processor(kind: type) -> Any:
    """Of Qwen2-VL or Qwen2.5-VL, with what is there of torchvision."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from actors.qwen_vl_processor import image_processor_only

    pixels = Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=112 * 112)
    return image_processor_only(kind)(pixels, qwen_tokenizer(), chat_template=CHAT_TEMPLATE)


def qwen_vl_model(tokenizer: Any, seed: int = 0) -> Any:
    """Qwen2.5-VL with windowed and full attention in its vision encoder, and 3-D rotary positions."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    ids = dict(zip(_SPECIAL, tokenizer.convert_tokens_to_ids(_SPECIAL), strict=True))
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": _VLM_WIDTH,
        "intermediate_size": _VLM_WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": 1,
        "max_position_embeddings": 2048,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]},
        "bos_token_id": tokenizer.pad_token_id,
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "depth": 2,
        "hidden_size": _WIDTH,
        "intermediate_size": 2 * _WIDTH,
        "num_heads": _HEADS,
        "out_hidden_size": _VLM_WIDTH,
        "fullatt_block_indexes": [1],
        "window_size": 56,
    }
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(
            text_config=text,
            vision_config=vision,
            image_token_id=ids["<|image_pad|>"],
            video_token_id=ids["<|video_pad|>"],
            vision_start_token_id=ids["<|vision_start|>"],
            vision_end_token_id=ids["<|vision_end|>"],
        )
    )
    model.generation_config.eos_token_id = ids["<|im_end|>"]
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return _spread(model, seed)


def build_qwen_vl(folder: Path, seed: int = 0) -> Path:
    """Qwen2.5-VL-7B-Instruct."""
    from transformers import Qwen2_5_VLProcessor

    processor = qwen_vl_processor(Qwen2_5_VLProcessor)
    qwen_vl_model(processor.tokenizer, seed).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def build_qwen_image_edit(folder: Path, seed: int = 0) -> Path:
    """Qwen-Image-Edit."""
    from diffusers import (
        AutoencoderKLQwenImage,
        FlowMatchEulerDiscreteScheduler,
        QwenImageEditPipeline,
        QwenImageTransformer2DModel,
    )
    from transformers import Qwen2VLProcessor

    processor = qwen_vl_processor(Qwen2VLProcessor)
    text_encoder = qwen_vl_model(processor.tokenizer, seed)
    torch.manual_seed(seed)
    pipe = QwenImageEditPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02
        ),
        vae=AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=4,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            latents_mean=[-0.7571, -0.7089, -0.9113, 0.1075],
            latents_std=[2.8184, 1.4541, 2.3275, 2.6558],
        ),
        text_encoder=text_encoder,
        tokenizer=processor.tokenizer,
        processor=processor,
        transformer=_spread(
            QwenImageTransformer2DModel(
                in_channels=16,
                out_channels=4,
                num_layers=2,
                attention_head_dim=_HEAD,
                num_attention_heads=_HEADS,
                joint_attention_dim=_VLM_WIDTH,
                axes_dims_rope=(4, 6, 6),
            ),
            seed,
        ),
    )
    pipe.save_pretrained(folder)
    return folder


EDITORS = {
    "flux-kontext": EditorFamily(
        build_flux_kontext, {"image_size": SIZE, "guidance_scale": 2.5, "max_sequence_length": 48}
    ),
    "qwen-image-edit": EditorFamily(
        build_qwen_image_edit, {"image_size": SIZE, "guidance_scale": 4.0, "source_size": 96}
    ),
}
