"""Editors of every family, tiny and randomly initialised, against the diffusers pipelines that they follow."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import Flux2KleinPipeline, FluxPipeline
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit, pipeline_qwenimage_edit_plus

from actors.conditioning import velocity
from actors.diffuser import Diffuser
from actors.flow_path import FlowSde
from actors.flow_sde import sde_log_prob
from actors.image_model import ImageModel
from actors.model_families import FAMILIES, family_of, load_drawer, load_editor
from actors.pipelines.folder import ModelLoadError
from actors.qwen_image_model import QwenImageModel, QwenImagePlusModel
from benchmarks.tiny_families.flux import build_flux
from benchmarks.tiny_families.flux2 import build_flux2_klein
from tests.pipeline_edits import PROMPTS, SEEDS, STEPS, apart, pipelines_edit
from tests.tiny_families import EDITORS, SIZE, images

SDE = FlowSde(eta=0.9, steps=STEPS)


@pytest.fixture(scope="module", params=list(EDITORS))
def editor(request, tmp_path_factory) -> ImageModel:
    family = EDITORS[request.param]
    return load_editor(family.build(tmp_path_factory.mktemp(request.param) / "model"), **family.settings)


def test_an_edit_is_that_of_the_diffusers_pipeline_to_one_grey_level(editor, monkeypatch):
    edits = editor.edit(images(2), PROMPTS, SEEDS, steps=STEPS)
    for row in range(2):
        expected, _ = pipelines_edit(editor, monkeypatch, row)
        assert apart(edits[row].image, expected) <= 1
        assert edits[row].image.std() > 10
    assert apart(edits[0].image, edits[1].image) > 20


def test_with_little_noise_the_sampler_goes_the_way_of_the_pipeline(editor, monkeypatch):
    """The σ are the pipeline's, shifted by the image's size; η = 1e-4 leaves latents 1e-3 from the ODE's."""
    (edit,) = editor.edit(images(1), PROMPTS[:1], SEEDS[:1], FlowSde(eta=1e-4, steps=STEPS))
    expected, latents = pipelines_edit(editor, monkeypatch, 0)
    scheduler = editor.pipe.scheduler
    assert scheduler.config.use_dynamic_shifting
    np.testing.assert_array_equal(edit.path.sigmas, scheduler.sigmas[:STEPS].numpy())
    assert not np.allclose(edit.path.sigmas, np.linspace(1, 1 / STEPS, STEPS), atol=1e-2)
    np.testing.assert_allclose(edit.path.latents[1:], latents[: STEPS - 1, 0].numpy(), atol=1e-3)
    assert apart(edit.image, expected) <= 1


def test_log_probs_of_a_rollout_are_recomputed_in_another_batch(editor):
    edits = editor.edit(images(2), PROMPTS, SEEDS, SDE)
    together = editor.conditioning(images(2), PROMPTS)
    for row, edit in enumerate(edits):
        x, sigmas = torch.from_numpy(edit.path.latents), torch.from_numpy(edit.path.sigmas)
        with torch.no_grad():
            v = velocity(editor.transformer, x[:-1], together.take([row] * len(edit.path)), sigmas[:-1])
        log_probs = sde_log_prob(x[:-1], v, sigmas[:-1], sigmas[1:], SDE.eta, x[1:])
        np.testing.assert_allclose(log_probs.numpy(), edit.path.log_probs, atol=1e-4)


def test_the_source_the_prompt_and_the_guidance_each_matter(editor, monkeypatch):
    def predicted(image, prompt) -> torch.Tensor:
        conditioning = editor.conditioning([image], [prompt])
        with torch.no_grad():
            return velocity(editor.transformer, conditioning.zeros(), conditioning, 0.7)

    first, second = images(2)
    base = predicted(first, PROMPTS[0])
    assert base.shape == editor.conditioning([first], PROMPTS[:1]).zeros().shape
    assert (predicted(second, PROMPTS[0]) - base).abs().max() > 1e-2
    assert (predicted(first, PROMPTS[1]) - base).abs().max() > 1e-2
    monkeypatch.setattr(editor, "guidance_scale", 1.0)
    assert (predicted(first, PROMPTS[0]) - base).abs().max() > 1e-2


def test_members_of_a_group_are_edited_as_if_alone_and_their_source_is_encoded_once(editor):
    encoded = []
    hook = editor.pipe.vae.encoder.register_forward_pre_hook(lambda _, inputs: encoded.append(len(inputs[0])))
    source = images(1)[0]
    together = editor.edit([source, source.copy(), source], [PROMPTS[0]] * 3, [7, 8, 9], SDE)
    hook.remove()
    assert encoded == [1]
    (alone,) = editor.edit([source], PROMPTS[:1], [8], SDE)
    np.testing.assert_allclose(together[1].path.latents, alone.path.latents, atol=1e-4)
    assert np.abs(together[0].path.latents - alone.path.latents).max() > 0.1


def test_the_folder_says_which_family_it_is(editor, tmp_path):
    folder = editor.pipe.name_or_path
    assert family_of(folder) == FAMILIES[type(editor.pipe).__name__]
    index = json.loads((shutil.copytree(folder, tmp_path / "model") / "model_index.json").read_text())
    (tmp_path / "model" / "model_index.json").write_text(json.dumps({**index, "_class_name": "OtherPipeline"}))
    with pytest.raises(ModelLoadError, match="names 'OtherPipeline', which is none of FluxPipeline"):
        load_editor(tmp_path / "model")


def test_flux_draws_as_its_own_pipeline_and_is_refused_as_an_editor(tmp_path):
    folder = build_flux(tmp_path / "flux")
    settings = {"image_size": SIZE, "guidance_scale": 3.5, "max_sequence_length": 48}
    pipe = FluxPipeline.from_pretrained(folder)
    expected = pipe(
        PROMPTS[0],
        height=SIZE,
        width=SIZE,
        guidance_scale=3.5,
        max_sequence_length=48,
        num_inference_steps=4,
        generator=torch.Generator().manual_seed(3),
    ).images[0]
    (drawn,) = Diffuser(folder, **settings).draw(PROMPTS[:1], [3], steps=4)
    assert apart(drawn, np.asarray(expected)) <= 1
    with pytest.raises(ModelLoadError, match=r"takes no image; name an editor in models\.editor"):
        load_editor(folder, **settings)


@pytest.mark.parametrize("distilled", [False, True])
def test_flux2_klein_draws_as_its_own_pipeline_and_distilled_without_guidance(tmp_path, distilled):
    folder = build_flux2_klein(tmp_path / "klein", distilled=distilled)
    settings = {"image_size": SIZE, "guidance_scale": 4.0, "max_sequence_length": 48}
    call = {"height": SIZE, "width": SIZE, "max_sequence_length": 48, "num_inference_steps": 4}
    drawer = Diffuser(folder, **settings)
    drawn = drawer.draw(PROMPTS, [3, 4], steps=4)
    pipe = Flux2KleinPipeline.from_pretrained(folder)
    for row, image in enumerate(drawn):
        generator = torch.Generator().manual_seed(3 + row)
        expected = pipe(prompt=PROMPTS[row], guidance_scale=4.0, generator=generator, **call).images[0]
        assert apart(image, np.asarray(expected)) <= 1
    (unguided,) = Diffuser(folder, **{**settings, "guidance_scale": 1.0}).draw(PROMPTS[:1], [3], steps=4)
    assert (apart(unguided, drawn[0]) <= 1) == distilled  # it was drawn in another batch


def test_an_editor_that_cannot_draw_is_refused_as_the_diffuser(tmp_path):
    family = EDITORS["qwen-image-edit"]
    folder = family.build(tmp_path / "model")
    with pytest.raises(ModelLoadError, match=r"only edits images; name one that draws in models\.flux"):
        load_drawer(folder, **family.settings)
    default = QwenImageModel.sources_at
    assert pipeline_qwenimage_edit.calculate_dimensions(1024 * 1024, 1.0)[:2] == (default, default)
    assert QwenImagePlusModel.sources_at**2 == pipeline_qwenimage_edit_plus.VAE_IMAGE_SIZE
    assert QwenImagePlusModel.text_size**2 == pipeline_qwenimage_edit_plus.CONDITION_IMAGE_SIZE
    with pytest.raises(ValueError, match=r"editor\.source_size: 40 is refused: .* a multiple of 16"):
        load_editor(folder, image_size=SIZE, source_size=40)
    flux = EDITORS["flux-kontext"].build(tmp_path / "flux")
    with pytest.raises(ValueError, match=r"editor\.source_size: 96 is refused: FluxKontextPipeline"):
        load_editor(flux, image_size=SIZE, source_size=96)
