"""A pipeline folder of FLUX.1 Kontext [dev]'s architecture and size, with random weights: what it computes means
nothing, what it costs is what the real one costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

VAE: dict[str, Any] = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "latent_channels": 16,
    "scaling_factor": 0.3611,
    "shift_factor": 0.1159,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
"""What the VAE of FLUX.1 is besides its size."""
_CLIP_WORDS = 49408
_T5_WORDS = 32128


def build(folder: Path, blocks: float = 1.0, device: str = "cpu", dtype: torch.dtype = torch.bfloat16) -> Path:
    """Write the pipeline, about 34 GB in bfloat16 where `blocks` is 1, and return its folder.

    Args:
        blocks: part of the transformer's 19 double and 38 single blocks, and of T5's 24 layers, that is made; at least
            one of each.
        device: where the weights are drawn.
    """
    from diffusers import AutoencoderKL, FluxKontextPipeline, FluxTransformer2DModel
    from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

    def part(count: int) -> int:
        return max(1, round(count * blocks))

    clip, t5 = tokenizers()
    torch.manual_seed(0)
    with made_on(device, dtype):
        parts: dict[str, Any] = {
            "vae": AutoencoderKL(**VAE, block_out_channels=(128, 256, 512, 512), layers_per_block=2, sample_size=1024),
            "text_encoder": CLIPTextModel(
                CLIPTextConfig(
                    vocab_size=_CLIP_WORDS,
                    projection_dim=768,
                    hidden_size=768,
                    bos_token_id=clip.bos_token_id,
                    eos_token_id=clip.eos_token_id,
                )
            ),
            "text_encoder_2": T5EncoderModel(
                T5Config(
                    vocab_size=_T5_WORDS,
                    d_model=4096,
                    d_kv=64,
                    d_ff=10240,
                    num_layers=part(24),
                    num_heads=64,
                    feed_forward_proj="gated-gelu",
                )
            ),
            "transformer": FluxTransformer2DModel(
                num_layers=part(19), num_single_layers=part(38), guidance_embeds=True
            ),
        }
    FluxKontextPipeline(scheduler=scheduler(), tokenizer=clip, tokenizer_2=t5, **parts).save_pretrained(folder)
    return folder


def scheduler() -> Any:
    """The scheduler of FLUX.1 Kontext [dev]."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(
        shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, max_image_seq_len=4096
    )


def tokenizers() -> tuple[Any, Any]:
    """CLIP's and T5's, which spell words letter by letter: the real vocabularies are not at hand, and their size
    matters to the models alone."""
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer, T5Tokenizer

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    unigrams = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((chr(k), -3.0) for k in range(33, 127))]
    return (
        CLIPTokenizer(vocab={piece: k for k, piece in enumerate(pieces)}, merges=[], model_max_length=77),
        T5Tokenizer(vocab=unigrams, extra_ids=0, model_max_length=512),
    )


@contextmanager
def made_on(device: str, dtype: torch.dtype) -> Iterator[None]:
    """Modules that are made within have their weights there, in this number format."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)
