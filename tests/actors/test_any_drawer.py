"""Pipelines that draw and have no family of their own, tiny and randomly initialised, against their own calls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKLQwenImage,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from transformers import Qwen2_5_VLProcessor

from actors.diffuser import Diffuser
from actors.model_families import load_drawer, load_editor
from actors.pipelines.folder import ModelLoadError
from benchmarks.tiny_families.qwen_vl import VLM_WIDTH, qwen_vl_model, qwen_vl_processor, spread, vivid
from benchmarks.tiny_families.z_image import build_z_image

SIZE, STEPS = 64, 4
PROMPTS = ["a red circle left of a blue square", "a green star"]


def qwen_image(folder: Path) -> Path:
    processor = qwen_vl_processor(Qwen2_5_VLProcessor)
    text_encoder = qwen_vl_model(processor.tokenizer)
    torch.manual_seed(0)
    vae = AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, latents_mean=[0.1] * 4, latents_std=[2.0] * 4
    )
    transformer = QwenImageTransformer2DModel(
        in_channels=16, out_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=VLM_WIDTH, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vivid(vae, 2.0 * torch.randn(8, 4, 1, 8, 8)),
        text_encoder=text_encoder,
        tokenizer=processor.tokenizer,
        transformer=spread(transformer, 0),
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=[build_z_image, qwen_image])
def folder(request, tmp_path_factory) -> Path:
    return request.param(tmp_path_factory.mktemp(request.param.__name__) / "model")


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_it_draws_as_the_pipeline_itself_does(folder: Path, guidance: float) -> None:
    settings = {"image_size": SIZE, "max_sequence_length": 48, "guidance_scale": guidance}
    drawn = Diffuser(folder, **settings).draw(PROMPTS, [3, 4], steps=STEPS)
    pipe = DiffusionPipeline.from_pretrained(folder)
    guided = {"guidance_scale": guidance}
    if isinstance(pipe, QwenImagePipeline):
        guided = {"true_cfg_scale": guidance, "negative_prompt": " "}
    for row, image in enumerate(drawn):
        expected = pipe(
            prompt=PROMPTS[row], height=SIZE, width=SIZE, num_inference_steps=STEPS, max_sequence_length=48,
            generator=torch.Generator().manual_seed(3 + row), **guided,
        ).images[0]  # fmt: skip
        assert np.abs(image.astype(int) - np.asarray(expected).astype(int)).max() <= 1
        assert image.std() > 10
    assert np.abs(drawn[0].astype(int) - drawn[1].astype(int)).max() > 20


def test_what_it_cannot_do_is_refused(folder: Path) -> None:
    drawer = load_drawer(folder, image_size=SIZE, max_sequence_length=48)
    with pytest.raises(ValueError, match="steps is 0"):
        drawer.draw(PROMPTS[:1], [1], steps=0)
    with pytest.raises(ValueError, match="equal length"):
        drawer.draw(PROMPTS, [1])
    with pytest.raises(ModelLoadError, match="which is none of FluxPipeline"):
        load_editor(folder)
