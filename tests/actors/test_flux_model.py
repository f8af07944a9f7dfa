import shutil

import numpy as np
import pytest
import torch
from diffusers import FluxKontextPipeline, FluxTransformer2DModel
from PIL import Image

from actors.conditioning import velocity
from actors.flow_sde import FlowSde, sde_log_prob
from actors.flux_model import FluxModel
from actors.pipelines.folder import ModelLoadError
from learner.pretraining.flux_model import new_pipeline

PROMPTS = [
    "move red circle left of blue square",
    "move blue square above green star",
    "move green star right of red circle",
]
SEEDS = [11, 12, 13]
SDE = FlowSde(eta=0.7, steps=6)


def apart(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def test_drawing_and_editing_give_images(flux, images):
    drawn = flux.draw(PROMPTS, SEEDS, steps=2)
    edited = flux.edit(images, PROMPTS, SEEDS, steps=2)
    for image in [*drawn, *(e.image for e in edited)]:
        assert image.shape == (64, 64, 3)
        assert image.dtype == np.uint8
    assert all(edit.path is None for edit in edited)
    assert apart(drawn[0], edited[0].image) > 1


def test_an_empty_batch_gives_nothing(flux):
    assert flux.draw([], []) == []
    assert flux.edit([], [], []) == []
    assert flux.edit([], [], [], SDE) == []


def test_plain_diffusers_draws_the_same(flux, flux_folder, images):
    pipe = FluxKontextPipeline.from_pretrained(flux_folder)
    pipe.set_progress_bar_config(disable=True)
    image = pipe(
        image=Image.fromarray(images[0]),
        prompt=PROMPTS[0],
        height=64,
        width=64,
        max_area=64 * 64,
        _auto_resize=False,
        max_sequence_length=32,
        guidance_scale=1.0,
        num_inference_steps=4,
        generator=torch.Generator().manual_seed(SEEDS[0]),
    ).images[0]
    assert apart(flux.edit(images[:1], PROMPTS[:1], SEEDS[:1], steps=4)[0].image, np.asarray(image)) == 0


@pytest.mark.parametrize("sde", [None, SDE])
def test_a_sample_depends_on_its_own_seed_only(flux, images, sde):
    together = flux.edit(images, PROMPTS, SEEDS, sde)
    alone = flux.edit(images[1:2], PROMPTS[1:2], SEEDS[1:2], sde)[0]
    other = flux.edit(images[1:2], PROMPTS[1:2], [99], sde)[0]
    assert apart(together[1].image, alone.image) <= 1
    assert apart(together[1].image, other.image) > 1
    if sde:
        np.testing.assert_allclose(together[1].path.latents, alone.path.latents, atol=1e-4)


@pytest.mark.parametrize("sde", [None, SDE])
def test_members_that_share_image_and_prompt_are_edited_as_if_alone(flux, images, sde):
    sources = [images[0], images[1].copy(), images[1], images[0]]
    prompts = [PROMPTS[0], PROMPTS[1], PROMPTS[1], PROMPTS[2]]
    together = flux.edit(sources, prompts, [1, 2, 3, 4], sde)
    for member, edit in enumerate(together):
        (alone,) = flux.edit([sources[member]], [prompts[member]], [member + 1], sde)
        assert apart(edit.image, alone.image) <= 1
        if sde:
            np.testing.assert_allclose(edit.path.latents, alone.path.latents, atol=1e-5)
    assert apart(together[1].image, together[2].image) > 1


def test_the_conditioning_encodes_equal_images_and_prompts_once(flux, images):
    encoded = []
    parts = (flux.pipe.vae.encoder, flux.pipe.text_encoder, flux.pipe.text_encoder_2)
    hooks = [part.register_forward_pre_hook(lambda _, inputs: encoded.append(len(inputs[0]))) for part in parts]
    sources = [images[0], images[1], images[0]]
    whole = flux.conditioning(sources, [PROMPTS[0], PROMPTS[1], PROMPTS[0]])
    assert sorted(encoded) == [1, 1, 2, 2]  # two images one by one, two prompts by each text encoder
    for hook in hooks:
        hook.remove()
    for row in range(3):
        alone = flux.conditioning([sources[row]], [PROMPTS[row % 2]])
        torch.testing.assert_close(whole.take([row]).image_latents, alone.image_latents, atol=0, rtol=0)
        torch.testing.assert_close(whole.take([row]).prompt_embeds, alone.prompt_embeds, atol=1e-5, rtol=0)


def test_drawing_does_not_depend_on_the_batch(flux):
    assert apart(flux.draw(PROMPTS, SEEDS, 3)[2], flux.draw(PROMPTS[2:], SEEDS[2:], 3)[0]) <= 1


def test_long_requests_are_taken_in_turns(flux_folder, images):
    small = FluxModel(flux_folder, max_batch=2)
    edits = small.edit(images, PROMPTS, SEEDS, FlowSde(0.7, 3))
    assert len(edits) == 3
    whole = FluxModel(flux_folder).edit(images, PROMPTS, SEEDS, FlowSde(0.7, 3))
    assert max(apart(a.image, b.image) for a, b in zip(edits, whole, strict=True)) <= 1


def test_the_noise_of_the_steps_is_not_the_first_noise(flux, images):
    path = flux.edit(images[:1], PROMPTS[:1], SEEDS[:1], SDE)[0].path
    conditioning = flux.conditioning(images[:1], PROMPTS[:1])
    x = torch.from_numpy(path.latents)
    with torch.no_grad():
        v = velocity(flux.transformer, x[:1], conditioning, 1.0)
    s = 0.7 * (1 / (1 - 5 / 6)) ** 0.5
    first = x[0] * (1 + s**2 / 2 * -1 / 6) + v[0] * (-1 / 6)
    noise = (x[1] - first) / (s * (1 / 6) ** 0.5)
    assert noise.std().item() == pytest.approx(1, abs=0.1)
    assert abs(torch.corrcoef(torch.stack([noise.flatten(), x[0].flatten()]))[0, 1].item()) < 0.1


def test_with_shared_noise_edits_of_one_group_differ_in_the_noise_of_the_steps_alone(flux, images):
    group = ([images[0]] * 2 + [images[1]], [PROMPTS[0]] * 3, SEEDS)
    shared = [edit.path.latents for edit in flux.edit(*group, FlowSde(0.7, 4, shared_noise=True))]
    own = [edit.path.latents for edit in flux.edit(*group, FlowSde(0.7, 4))]
    assert np.array_equal(shared[0][0], shared[1][0])
    assert not np.array_equal(shared[0][1], shared[1][1])
    assert not np.array_equal(shared[0][0], shared[2][0])  # another image
    assert not np.array_equal(own[0][0], own[1][0])
    (alone,) = flux.edit(images[:1], PROMPTS[:1], SEEDS[1:2], FlowSde(0.7, 4, shared_noise=True))
    np.testing.assert_allclose(alone.path.latents, shared[1], atol=1e-4)


def recomputed_differences(
    sampler: FluxModel, learner: FluxModel, images: list[np.ndarray], sde: FlowSde
) -> np.ndarray:
    """|log-probability of the learner − that of the sampler|, all steps of a sample as one batch."""
    edits = sampler.edit(images, PROMPTS, SEEDS, sde)
    conditioning = learner.conditioning(images, PROMPTS)
    differences = []
    for i, edit in enumerate(edits):
        x, sigmas = torch.from_numpy(edit.path.latents), torch.from_numpy(edit.path.sigmas)
        with torch.no_grad():
            v = velocity(learner.transformer, x[:-1], conditioning.take([i] * len(edit.path)), sigmas[:-1])
        log_probs = sde_log_prob(x[:-1], v, sigmas[:-1], sigmas[1:], edit.path.eta, x[1:])
        differences.append(log_probs.numpy() - edit.path.log_probs)
    return np.abs(differences)


@pytest.mark.parametrize("window", [None, (1, 4)])
def test_the_log_probs_can_be_recomputed_in_another_batch(flux, flux_folder, images, window):
    differences = recomputed_differences(flux, FluxModel(flux_folder), images, FlowSde(0.7, 6, window))
    assert differences.shape == (3, 5 if window is None else 3)
    assert np.all(differences < 1e-4)  # false for NaN, too


def test_a_model_with_guidance_gives_the_same_log_probs(tmp_path, images):
    pipe = new_pipeline(seed=5)
    pipe.transformer = FluxTransformer2DModel.from_config({**pipe.transformer.config, "guidance_embeds": True})
    pipe.save_pretrained(tmp_path)
    model = FluxModel(tmp_path, guidance_scale=2.5)
    assert np.all(recomputed_differences(model, model, images, SDE) < 1e-4)
    other = FluxModel(tmp_path, guidance_scale=8.0)
    assert recomputed_differences(model, other, images, SDE).max() > 1e-4


def test_the_log_prob_has_a_gradient_for_every_parameter_that_matters(flux, images):
    path = flux.edit(images[:1], PROMPTS[:1], SEEDS[:1], SDE)[0].path
    conditioning = flux.conditioning(images[:1], PROMPTS[:1])
    x = torch.from_numpy(path.latents)
    v = velocity(flux.transformer, x[1:2], conditioning, float(path.sigmas[1]))
    sde_log_prob(x[1:2], v, float(path.sigmas[1]), float(path.sigmas[2]), path.eta, x[2:3]).sum().backward()
    assert flux.transformer.x_embedder.weight.grad.abs().max() > 0
    flux.transformer.zero_grad(set_to_none=True)


def test_conditioning_leaves_the_global_random_stream_alone(flux, images):
    torch.manual_seed(0)
    expected = torch.randn(3)
    torch.manual_seed(0)
    flux.conditioning(images[:1], PROMPTS[:1])
    assert torch.equal(torch.randn(3), expected)


def test_a_saved_pipeline_keeps_diffusers_scheduler_after_sde_edits(flux, images, tmp_path):
    flux.edit(images[:1], PROMPTS[:1], SEEDS[:1], SDE)
    flux.pipe.save_pretrained(tmp_path)
    assert "FlowSdeScheduler" not in (tmp_path / "model_index.json").read_text()


def test_an_image_of_another_size_is_refused(flux, images):
    with pytest.raises(
        ValueError, match=r"image 1 is uint8 of shape \(32, 64, 3\); expected uint8 of shape \(64, 64, 3\)"
    ):
        flux.edit([images[0], images[1][:32]], PROMPTS[:2], SEEDS[:2])
    with pytest.raises(ValueError, match="image 0 is float32"):
        flux.conditioning([images[0].astype(np.float32)], PROMPTS[:1])


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda flux, _: flux.draw(PROMPTS, SEEDS[:2]), "equal length"),
        (lambda flux, _: flux.draw(PROMPTS[:1], [2**32]), "seed 0 is 4294967296"),
        (lambda flux, _: flux.draw(PROMPTS[:1], SEEDS[:1], 0), "steps is 0"),
        (lambda flux, images: flux.edit(images[:1], PROMPTS[:1], [1], SDE, steps=4), "steps is 4 and sde.steps is 6"),
        (lambda flux, _: flux.conditioning([], []), "at least one image"),
    ],
)
def test_calls_that_cannot_work_are_refused(flux, images, call, named):
    with pytest.raises(ValueError, match=named):
        call(flux, images)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(ModelLoadError, match="absent' does not exist; give a folder"):
        FluxModel(tmp_path / "absent")
    with pytest.raises(ModelLoadError, match=r"has no model_index\.json"):
        FluxModel(tmp_path)


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder"])
def test_corrupt_weights_are_refused(flux_folder, tmp_path, part):
    folder = shutil.copytree(flux_folder, tmp_path / "flux")
    weights = next((folder / part).glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelLoadError, match="cannot be loaded"):
        FluxModel(folder)


def test_an_image_size_that_the_model_cannot_make_is_refused(flux_folder):
    with pytest.raises(ValueError, match=r"image_size is 60; .* a multiple of 8"):
        FluxModel(flux_folder, image_size=60)


def test_damaged_weights_do_not_become_images(flux_folder):
    model = FluxModel(flux_folder)
    with torch.no_grad():
        model.transformer.proj_out.bias[0] = float("nan")
    with pytest.raises(FloatingPointError, match="not finite for 2 of 2 samples"):
        model.draw(PROMPTS[:2], SEEDS[:2], 1)
