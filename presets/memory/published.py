"""Configurations of models on the hub, for a machine that cannot reach it: what their config.json files say about
sizes, as far as it differs from the defaults of diffusers' and transformers' classes.

Sources are the files `transformer/config.json`, `text_encoder*/config.json`, `vae/config.json` and `config.json` of the
repositories that are named here. Sizes are not written down: `size_of_settings` makes the network without memory and
counts. Versions of one model that differ in nothing but weights share a configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Settings = Mapping[str, Any]

_CLIP_L: Settings = {
    "architectures": ["CLIPTextModel"], "model_type": "clip_text_model", "hidden_size": 768, "intermediate_size": 3072,
    "num_hidden_layers": 12, "num_attention_heads": 12, "vocab_size": 49408, "max_position_embeddings": 77,
}  # fmt: skip
_T5_XXL: Settings = {
    "architectures": ["T5EncoderModel"], "model_type": "t5", "d_model": 4096, "d_ff": 10240, "d_kv": 64,
    "num_heads": 64, "num_layers": 24, "vocab_size": 32128, "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
}  # fmt: skip
_FLUX_VAE: Settings = {
    "_class_name": "AutoencoderKL", "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2,
    "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4, "latent_channels": 16,
    "use_quant_conv": False, "use_post_quant_conv": False,
}  # fmt: skip


def _flux(*, guidance: bool) -> dict[str, Settings]:
    """FLUX.1: diffusers' defaults are its transformer's sizes."""
    transformer = {"_class_name": "FluxTransformer2DModel", "guidance_embeds": guidance}
    return {"transformer": transformer, "text_encoder": _CLIP_L, "text_encoder_2": _T5_XXL, "vae": _FLUX_VAE}


def _qwen3(hidden: int, inner: int, *, tied: bool) -> Settings:
    return {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": hidden,
        "intermediate_size": inner, "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8,
        "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": tied,
    }  # fmt: skip


def _klein(double: int, single: int, heads: int, text: Settings) -> dict[str, Settings]:
    """FLUX.2 klein: text comes from three layers of its text encoder at once."""
    transformer = {
        "_class_name": "Flux2Transformer2DModel", "num_layers": double, "num_single_layers": single,
        "num_attention_heads": heads, "joint_attention_dim": 3 * text["hidden_size"], "guidance_embeds": False,
    }  # fmt: skip
    return {"transformer": transformer, "text_encoder": text, "vae": {"_class_name": "AutoencoderKLFlux2"}}


def _qwen25(hidden: int, inner: int, layers: int, heads: int, kv: int, words: int, vision: int) -> Settings:
    return {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl",
        "tie_word_embeddings": hidden == 2048,  # of the 3B alone
        "text_config": {
            "model_type": "qwen2_5_vl_text", "hidden_size": hidden, "intermediate_size": inner,
            "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv, "vocab_size": words,
            "max_position_embeddings": 128000,
        },
        "vision_config": {
            "model_type": "qwen2_5_vl", "depth": 32, "hidden_size": 1280, "intermediate_size": vision, "num_heads": 16,
            "out_hidden_size": hidden, "patch_size": 14, "spatial_merge_size": 2,
        },
    }  # fmt: skip


def _qwen3_vl(hidden: int, text: Settings, *, small: bool, tied: bool = False, moe: bool = False) -> Settings:
    """Qwen3-VL has two vision encoders: the 2B and 4B have the smaller one."""
    kind = "qwen3_vl_moe" if moe else "qwen3_vl"
    sizes = (24, 1024, 4096, [5, 11, 17]) if small else (27, 1152, 4304, [8, 16, 24])
    vision = dict(zip(("depth", "hidden_size", "intermediate_size", "deepstack_visual_indexes"), sizes, strict=True))
    return {
        "architectures": [f"Qwen3VL{'Moe' if moe else ''}ForConditionalGeneration"], "model_type": kind,
        "tie_word_embeddings": tied,
        "text_config": {
            "model_type": f"{kind}_text", "hidden_size": hidden, "vocab_size": 151936, "head_dim": 128,
            "max_position_embeddings": 262144, **text,
        },
        "vision_config": {
            "model_type": kind, "num_heads": 16, "patch_size": 16, "spatial_merge_size": 2, "out_hidden_size": hidden,
            "num_position_embeddings": 2304, **vision,
        },
    }  # fmt: skip


def _layers(inner: int, layers: int, heads: int, kv: int = 8) -> Settings:
    return {
        "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv,
    }  # fmt: skip


_QWEN25_7B = _qwen25(3584, 18944, 28, 28, 4, 152064, 3420)
_QWEN_IMAGE: dict[str, Settings] = {
    "transformer": {"_class_name": "QwenImageTransformer2DModel"},  # diffusers' defaults are its sizes
    "text_encoder": _QWEN25_7B,
    "vae": {"_class_name": "AutoencoderKLQwenImage", "dim_mult": [1, 2, 4, 4]},
}
_Z_IMAGE: dict[str, Settings] = {  # diffusers' defaults are its transformer's sizes
    "transformer": {"_class_name": "ZImageTransformer2DModel"},
    "text_encoder": _qwen3(2560, 9728, tied=True),
    "vae": _FLUX_VAE,
}
_KLEIN_4B = _klein(5, 20, 24, _qwen3(2560, 9728, tied=True))
_KLEIN_9B = _klein(8, 24, 32, _qwen3(4096, 12288, tied=False))
_EXPERTS = {"moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8}
_QWEN3_VL: dict[str, Settings] = {
    "2B": _qwen3_vl(2048, _layers(6144, 28, 16), small=True, tied=True),
    "4B": _qwen3_vl(2560, _layers(9728, 36, 32), small=True, tied=True),
    "8B": _qwen3_vl(4096, _layers(12288, 36, 32), small=False),
    "32B": _qwen3_vl(5120, _layers(25600, 64, 64), small=False),
    "30B-A3B": _qwen3_vl(2048, {**_layers(6144, 48, 32, 4), **_EXPERTS}, small=False, moe=True),
}

PIPELINES: dict[str, tuple[str, dict[str, Settings]]] = {
    "black-forest-labs/FLUX.1-dev": ("FluxPipeline", _flux(guidance=True)),
    "black-forest-labs/FLUX.1-schnell": ("FluxPipeline", _flux(guidance=False)),
    "black-forest-labs/FLUX.1-Kontext-dev": ("FluxKontextPipeline", _flux(guidance=True)),
    "black-forest-labs/FLUX.2-klein-4B": ("Flux2KleinPipeline", _KLEIN_4B),
    "black-forest-labs/FLUX.2-klein-base-4B": ("Flux2KleinPipeline", _KLEIN_4B),
    "black-forest-labs/FLUX.2-klein-9B": ("Flux2KleinPipeline", _KLEIN_9B),
    "black-forest-labs/FLUX.2-klein-base-9B": ("Flux2KleinPipeline", _KLEIN_9B),
    "Qwen/Qwen-Image": ("QwenImagePipeline", _QWEN_IMAGE),
    "Qwen/Qwen-Image-Edit": ("QwenImageEditPipeline", _QWEN_IMAGE),
    "Qwen/Qwen-Image-Edit-2509": ("QwenImageEditPlusPipeline", _QWEN_IMAGE),
    "Qwen/Qwen-Image-Edit-2511": ("QwenImageEditPlusPipeline", _QWEN_IMAGE),
    "Tongyi-MAI/Z-Image-Turbo": ("ZImagePipeline", _Z_IMAGE),
}
"""Pipeline class and parts, by name on the hub."""

VLMS: dict[str, Settings] = {
    "Qwen/Qwen2.5-VL-3B-Instruct": _qwen25(2048, 11008, 36, 16, 2, 151936, 3420),
    "Qwen/Qwen2.5-VL-7B-Instruct": _QWEN25_7B,
    "Qwen/Qwen2.5-VL-32B-Instruct": _qwen25(5120, 27648, 64, 40, 8, 152064, 3456),
    "Qwen/Qwen2.5-VL-72B-Instruct": _qwen25(8192, 29568, 80, 64, 8, 152064, 3456),
    **{f"Qwen/Qwen3-VL-{size}-{kind}": it for size, it in _QWEN3_VL.items() for kind in ("Instruct", "Thinking")},
}
"""By name on the hub."""
