"""Randomly initialised Qwen vision-language models, a few thousand parameters each, with the tokenizer, processors and
chat template of the real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = [
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
END = "<|im_end|>"
_HEADS = 2
_WIDTH = 32
VLM_WIDTH = 64  # heads of 32: vLLM's CPU kernels take multiples of it


def spread(module: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Weights large enough that every input shows in the output; the default initialisation keeps some at zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                fan_in = parameter[0].numel()
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan_in**0.5)
    return module.eval()


@torch.no_grad()
def vivid(vae: Any, latents: torch.Tensor) -> Any:
    """A VAE that decodes noise to pictures of full contrast, which differ enough for a judge to tell them apart."""
    pixels = vae.decode(latents, return_dict=False)[0]
    channels = pixels.movedim(1, 0).flatten(1)
    scale = 0.6 / channels.std(1)
    last = vae.decoder.conv_out
    last.weight.mul_(scale.view(-1, *[1] * (last.weight.ndim - 1)))
    last.bias.sub_(channels.mean(1)).mul_(scale)
    return vae


def byte_tokenizer() -> Any:
    """Qwen's, without a merge: every byte is a token."""
    from tokenizers import pre_tokenizers
    from transformers import Qwen2Tokenizer

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    return Qwen2Tokenizer(vocab={letter: k for k, letter in enumerate(letters)}, merges=[])


def qwen_vl_processor(kind: type, tokenizer: Any = None, pixels: tuple[int, int] = (56 * 56, 112 * 112)) -> Any:
    """Of Qwen2-VL, Qwen2.5-VL or Qwen3-VL; the tokenizer gets the special tokens that they share. Images have at least
    and at most so many pixels."""
    from transformers import Qwen2VLImageProcessor, Qwen2VLVideoProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    tokenizer = tokenizer or byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL})
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", tokenizer.pad_token or "<|endoftext|>"
    newer = kind is Qwen3VLProcessor
    settings = {"min_pixels": pixels[0], "max_pixels": pixels[1], "patch_size": 16 if newer else 14}
    videos = Qwen3VLVideoProcessor() if newer else Qwen2VLVideoProcessor()
    return kind(Qwen2VLImageProcessor(**settings), tokenizer, videos, chat_template=CHAT_TEMPLATE)


def places(tokenizer: Any) -> dict[str, int]:
    """The tokens that stand for pictures, by their names in a model's configuration."""
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return {key: tokenizer.convert_tokens_to_ids(token) for key, token in names.items()}


def _finished(model: Any, tokenizer: Any, seed: int) -> Any:
    """A model that ends its answers as the tokenizer does, with weights of this seed."""
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(END)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return spread(model, seed)


def qwen_vl_model(tokenizer: Any, seed: int = 0, **shape: Any) -> Any:
    """Qwen2.5-VL with windowed and full attention in its vision encoder, and 3-D rotary positions; `shape` are settings
    of its text model."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": VLM_WIDTH,
        "intermediate_size": VLM_WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": 1,
        "max_position_embeddings": 2048,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]},
        "bos_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.convert_tokens_to_ids(END),
        "pad_token_id": tokenizer.pad_token_id,
        **shape,
    }
    vision = {
        "depth": 2,
        "hidden_size": _WIDTH,
        "intermediate_size": 2 * _WIDTH,
        "num_heads": _HEADS,
        "out_hidden_size": text["hidden_size"],
        "fullatt_block_indexes": [1],
        "window_size": 56,
    }
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(
            text_config=text,
            vision_config=vision,
            **places(tokenizer),
        )
    )
    return _finished(model, tokenizer, seed)


def build_qwen_vl(folder: Path, seed: int = 0) -> Path:
    """Qwen2.5-VL-7B-Instruct."""
    from transformers import Qwen2_5_VLProcessor

    processor = qwen_vl_processor(Qwen2_5_VLProcessor)
    qwen_vl_model(processor.tokenizer, seed).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def qwen3_vl_model(tokenizer: Any, seed: int = 0) -> Any:
    """Qwen3-VL, whose vision encoder gives features of several of its layers to the text model."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": VLM_WIDTH,
        "intermediate_size": VLM_WIDTH,
        "num_hidden_layers": 3,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "max_position_embeddings": 2048,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5e6,
            "mrope_section": [6, 5, 5],
            "mrope_interleaved": True,
        },
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "depth": 3,
        "hidden_size": _WIDTH,
        "intermediate_size": 2 * _WIDTH,
        "num_heads": _HEADS,
        "out_hidden_size": VLM_WIDTH,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0, 1],
    }
    torch.manual_seed(seed)
    model = Qwen3VLForConditionalGeneration(
        Qwen3VLConfig(
            text_config=text,
            vision_config=vision,
            **places(tokenizer),
        )
    )
    return _finished(model, tokenizer, seed)


def build_qwen3_vl(folder: Path, seed: int = 0) -> Path:
    """Qwen3-VL-4B-Instruct."""
    from transformers import Qwen3VLProcessor

    processor = qwen_vl_processor(Qwen3VLProcessor)
    qwen3_vl_model(processor.tokenizer, seed).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
