"""The models of the one-GPU preset with random weights, in their own sizes or smaller: nothing is downloaded. What they
say means nothing, what they cost is what the real ones cost.

Sizes are the published ones that `rlrig plan` counts with. Tokenizers are those of the tiny models: the real
vocabularies are not at hand, and their size matters to the models alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.random_flux import made_on
from benchmarks.tiny_families.flux2 import text_tokenizer, write_flux2_klein
from benchmarks.tiny_families.player import player_tokenizer
from benchmarks.tiny_families.qwen_vl import END, places, qwen_vl_processor
from learner.skeleton import described
from presets.memory.published import PIPELINES, VLMS

EDITOR, VLM = "black-forest-labs/FLUX.2-klein-4B", "Qwen/Qwen3-VL-4B-Instruct"
_PIXELS = (65536, 16777216)  # least and most of an image, of Qwen3-VL's preprocessor_config.json
_TEXT, _INNER, _VISION = 256, 512, 128
_SMALLER: dict[str, dict[str, Any]] = {
    "transformer": {
        "num_layers": 1, "num_single_layers": 2, "num_attention_heads": 2, "joint_attention_dim": 3 * _TEXT,
    },
    "text_encoder": {
        "hidden_size": _TEXT, "intermediate_size": _INNER, "num_hidden_layers": 27, "num_attention_heads": 2,
        "num_key_value_heads": 1,
    },
    "vae": {"block_out_channels": [32, 64, 64, 64], "layers_per_block": 1},
    "text_config": {
        "hidden_size": _TEXT, "intermediate_size": _INNER, "num_hidden_layers": 4, "num_attention_heads": 2,
        "num_key_value_heads": 1,
    },
    "vision_config": {
        "depth": 4, "hidden_size": _VISION, "intermediate_size": 2 * _VISION, "num_heads": 2,
        "deepstack_visual_indexes": [0, 1, 2], "out_hidden_size": _TEXT,
    },
}  # fmt: skip
_ROPE = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20], "mrope_interleaved": True}


def build(folder: Path, *, small: bool, device: str) -> dict[str, Path]:
    """Make both models in bfloat16, drawn on this device: folders by role. Real sizes take 25 GB."""
    editor, vlm = folder / "editor", folder / "vlm"
    torch.manual_seed(0)
    _build_editor(editor, small, device)
    _build_vlm(vlm, small, device)
    if device == "cuda":
        torch.cuda.empty_cache()
    return {"flux": editor, "checker": vlm, "actor": vlm}


def _build_editor(folder: Path, small: bool, device: str) -> None:
    _, settings = PIPELINES[EDITOR]
    with made_on(device, torch.bfloat16):
        parts = {
            name: described({**its, **(_SMALLER[name] if small else {})}, device).eval()
            for name, its in settings.items()
        }
    write_flux2_klein(folder, {**parts, "tokenizer": text_tokenizer()}, distilled=True)


def _build_vlm(folder: Path, small: bool, device: str) -> None:
    from transformers import Qwen3VLProcessor

    processor = qwen_vl_processor(Qwen3VLProcessor, player_tokenizer("qwen3"), _PIXELS)
    tokenizer, settings = processor.tokenizer, VLMS[VLM]
    ids = {
        "eos_token_id": tokenizer.convert_tokens_to_ids(END),
        "bos_token_id": tokenizer.pad_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    parts = {name: {**settings[name], **(_SMALLER[name] if small else {})} for name in ("text_config", "vision_config")}
    parts["text_config"] |= {**ids, "rope_parameters": _ROPE, "tie_word_embeddings": settings["tie_word_embeddings"]}
    with made_on(device, torch.bfloat16):
        model: Any = described({**settings, **parts, **places(tokenizer)}, device).eval()
    model.generation_config.eos_token_id = ids["eos_token_id"]
    model.generation_config.pad_token_id = ids["pad_token_id"]
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
