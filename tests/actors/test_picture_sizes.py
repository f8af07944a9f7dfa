"""Pictures that are no squares: drawn and edited by every family as diffusers' own pipelines do, and computed alike by
rollout and learner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, FluxPipeline, QwenImagePipeline
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit import calculate_dimensions
from hypothesis import given
from hypothesis import strategies as st

from actors.conditioning import velocity
from actors.diffuser import Diffuser
from actors.flow_path import FlowSde
from actors.flow_sde import sde_log_prob
from actors.image_model import ImageModel
from actors.model_families import load_editor
from benchmarks.tiny_families.flux import build_flux, build_flux_kontext
from benchmarks.tiny_families.flux2 import build_flux2_klein
from benchmarks.tiny_families.z_image import build_z_image
from scenes.pictures.size import PictureSize
from tests.actors.test_any_drawer import qwen_image
from tests.pipeline_edits import PROMPTS, SEEDS, STEPS, apart, pipelines_edit
from tests.tiny_families import EDITORS, WIDE, images

SDE = FlowSde(eta=0.9, steps=STEPS)
TALL = PictureSize(64, 96)


@pytest.fixture(scope="module", params=list(EDITORS))
def editor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ImageModel:
    family = EDITORS[request.param]
    folder = family.build(tmp_path_factory.mktemp(request.param) / "model")
    return load_editor(folder, **{**family.settings, "image_size": WIDE})


def test_an_edit_is_that_of_the_diffusers_pipeline_to_one_grey_level(
    editor: ImageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits = editor.edit(images(2, WIDE), PROMPTS, SEEDS, steps=STEPS)
    for row, edit in enumerate(edits):
        expected, _ = pipelines_edit(editor, monkeypatch, row)
        assert edit.image.shape == expected.shape == (64, 96, 3)
        assert apart(edit.image, expected) <= 1
        assert edit.image.std() > 10
    assert apart(edits[0].image, edits[1].image) > 20


def test_the_sampler_takes_the_pipelines_noise_levels_and_the_learner_finds_its_log_probs(
    editor: ImageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits = editor.edit(images(2, WIDE), PROMPTS, SEEDS, SDE)
    pipelines_edit(editor, monkeypatch, 0)
    together = editor.conditioning(images(2, WIDE), PROMPTS)
    for row, edit in enumerate(edits):
        assert edit.path is not None
        np.testing.assert_array_equal(edit.path.sigmas, editor.pipe.scheduler.sigmas[:STEPS].numpy())
        x, sigmas = torch.from_numpy(edit.path.latents), torch.from_numpy(edit.path.sigmas)
        with torch.no_grad():
            v = velocity(editor.transformer, x[:-1], together.take([row] * len(edit.path)), sigmas[:-1])
        log_probs = sde_log_prob(x[:-1], v, sigmas[:-1], sigmas[1:], SDE.eta, x[1:])
        np.testing.assert_allclose(log_probs.numpy(), edit.path.log_probs, atol=1e-4)


def test_images_of_other_sides_are_refused(editor: ImageModel) -> None:
    for size in (TALL, PictureSize(64, 64)):
        with pytest.raises(ValueError, match=r"image 0 is uint8 of shape .*; expected uint8 of shape \(64, 96, 3\)"):
            editor.edit(images(1, size), PROMPTS[:1], SEEDS[:1])


DRAWERS: dict[str, Any] = {
    "flux": (build_flux, {"guidance_scale": 3.5}, {"guidance_scale": 3.5}),
    "kontext": (build_flux_kontext, {"guidance_scale": 2.5}, {"guidance_scale": 2.5}),
    "klein": (build_flux2_klein, {"guidance_scale": 4.0}, {"guidance_scale": 4.0}),
    "z-image": (build_z_image, {"guidance_scale": 4.0}, {"guidance_scale": 4.0}),
    "qwen-image": (qwen_image, {"guidance_scale": 4.0}, {"true_cfg_scale": 4.0, "negative_prompt": " "}),
}


@pytest.mark.parametrize("size", [WIDE, TALL])
@pytest.mark.parametrize("name", list(DRAWERS))
def test_a_drawing_is_that_of_the_diffusers_pipeline_to_one_grey_level(
    name: str, size: PictureSize, tmp_path: Path
) -> None:
    build, settings, call = DRAWERS[name]
    folder = build(tmp_path / "model")
    drawer = Diffuser(folder, image_size=size, max_sequence_length=48, **settings)
    drawn = drawer.draw(PROMPTS, SEEDS, steps=4)
    pipe = (FluxPipeline if name in ("flux", "kontext") else DiffusionPipeline).from_pretrained(folder)
    assert isinstance(pipe, QwenImagePipeline) == (name == "qwen-image")
    for prompt, seed, image in zip(PROMPTS, SEEDS, drawn, strict=True):
        expected = pipe(
            prompt=prompt, width=size.width, height=size.height, num_inference_steps=4, max_sequence_length=48,
            generator=torch.Generator().manual_seed(seed), **call,
        ).images[0]  # fmt: skip
        assert image.shape == size.shape
        assert apart(image, np.asarray(expected)) <= 1
        assert image.std() > 10
    assert apart(*drawn) > 20


def test_sides_that_the_model_cannot_make_are_refused(tmp_path: Path) -> None:
    folder = EDITORS["qwen-image-edit"].build(tmp_path / "model")
    with pytest.raises(ValueError, match=r"width is 100; .* a multiple of 16, as 96 and 112$"):
        load_editor(folder, image_size=(100, 64))
    with pytest.raises(ValueError, match=r"height is 8; .* a multiple of 16, as 16$"):
        load_editor(folder, image_size=(64, 8))
    with pytest.raises(ValueError, match=r"source_size: 32 is refused for pictures of 256x16: .* see them at 128x0"):
        load_editor(folder, image_size=(256, 16), source_size=32)


@given(st.integers(1, 256), st.integers(1, 256), st.integers(1, 128))
def test_a_source_is_scaled_as_the_pipeline_of_qwen_image_edit_scales_it(width: int, height: int, side: int) -> None:
    expected = calculate_dimensions((32 * side) ** 2, width / height)[:2]
    assert PictureSize(width, height).scaled_to(32 * side) == expected
