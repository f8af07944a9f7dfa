"""A small vision-language model of Idefics3 architecture, for the Checker and the Actor.

`python -m learner.pretraining.vlm_model FOLDER` writes one with random weights.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

from learner.pretraining.vocabulary import CHAT_TEMPLATE, IMAGE, chat_tokenizer
from scenes.shape_world import SIZE

PATCH = 8
HEAD = 32  # width of an attention head; vLLM's CPU kernels take multiples of it
SCALE_FACTOR = 2
IMAGE_TOKENS = (SIZE // PATCH // SCALE_FACTOR) ** 2
MAX_LENGTH = 160


def new_processor() -> Idefics3Processor:
    """Tokenizer, image processor (64×64, not split into tiles) and chat template."""
    image_processor = Idefics3ImageProcessorPil(
        size={"longest_edge": SIZE},
        max_image_size={"longest_edge": SIZE},
        do_image_splitting=False,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return Idefics3Processor(
        image_processor, chat_tokenizer(MAX_LENGTH), image_seq_len=IMAGE_TOKENS, chat_template=CHAT_TEMPLATE
    )


def new_model(
    processor: Idefics3Processor, seed: int = 0, width: int = 128, layers: int = 4
) -> Idefics3ForConditionalGeneration:
    """The model with random weights in float32; about 1.3 M parameters at a width of 128."""
    torch.manual_seed(seed)
    tokenizer = processor.tokenizer
    config = Idefics3Config(
        vision_config={
            "hidden_size": width,
            "intermediate_size": 2 * width,
            "num_hidden_layers": layers,
            "num_attention_heads": width // HEAD,
            "image_size": SIZE,
            "patch_size": PATCH,
        },
        text_config={
            "model_type": "llama",
            "vocab_size": len(tokenizer),
            "hidden_size": width,
            "intermediate_size": 2 * width,
            "num_hidden_layers": layers,
            "num_attention_heads": width // HEAD,
            "num_key_value_heads": width // HEAD,
            "max_position_embeddings": MAX_LENGTH,
            "pad_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "bos_token_id": None,
            "tie_word_embeddings": False,
        },
        scale_factor=SCALE_FACTOR,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,
    )
    model = Idefics3ForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def save(model: Idefics3ForConditionalGeneration, processor: Idefics3Processor, out_dir: Path) -> Path:
    """Write model and processor in the folder format of transformers."""
    model.save_pretrained(out_dir)
    processor.save_pretrained(out_dir)
    return Path(out_dir)


def load(folder: Path) -> tuple[Idefics3ForConditionalGeneration, Idefics3Processor]:
    """Read what `save` wrote."""
    return Idefics3ForConditionalGeneration.from_pretrained(folder), Idefics3Processor.from_pretrained(folder)


def build(out_dir: Path, seed: int = 0) -> Path:
    """Write a model with random weights."""
    processor = new_processor()
    return save(new_model(processor, seed), processor, Path(out_dir))


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
