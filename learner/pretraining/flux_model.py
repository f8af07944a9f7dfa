"""A small pipeline of FLUX-Kontext architecture: without an image it draws, with one it edits.

`python -m learner.pretraining.flux_model FOLDER` writes one with random weights.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxKontextPipeline, FluxTransformer2DModel
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from learner.pretraining.vocabulary import text_tokenizer

TEXT_LENGTH = 32  # five requirements of six words, and the end token
WIDTH = 128
LATENT_CHANNELS = 4
DRAWING_STEPS, EDITING_STEPS = 24, 4  # a drawing begins from nothing: in few steps more of its objects come out mixed
SIGMA_SHIFT = 3.0  # most of a drawing is decided while σ is high, so most steps are taken there


def new_vae() -> AutoencoderKL:
    """64×64×3 → 16×16×4."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 32),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=64,
        scaling_factor=1.0,
        shift_factor=0.0,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )


def new_pipeline(seed: int = 0) -> FluxKontextPipeline:
    """The pipeline with random weights in float32; about 3 M parameters."""
    torch.manual_seed(seed)
    tokenizer = text_tokenizer(TEXT_LENGTH)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=1,
            num_attention_heads=4,
            max_position_embeddings=TEXT_LENGTH,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    text_encoder_2 = T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=WIDTH,
            d_kv=32,
            d_ff=2 * WIDTH,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            relative_attention_num_buckets=16,
            relative_attention_max_distance=TEXT_LENGTH,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=4 * LATENT_CHANNELS,
        num_layers=2,
        num_single_layers=4,
        attention_head_dim=32,
        num_attention_heads=WIDTH // 32,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        guidance_embeds=False,
        axes_dims_rope=(8, 12, 12),
    )
    return FluxKontextPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SIGMA_SHIFT, use_dynamic_shifting=False),
        vae=new_vae(),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        text_encoder_2=text_encoder_2,
        tokenizer_2=text_tokenizer(TEXT_LENGTH),
        transformer=transformer,
    )


def build(out_dir: Path, seed: int = 0) -> Path:
    """Write a pipeline with random weights in the folder format of diffusers."""
    new_pipeline(seed).save_pretrained(out_dir)
    return Path(out_dir)


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
