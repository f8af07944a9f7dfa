"""Edits of the ODE, trained on the forward process by the editor's own pipeline."""

import numpy as np
import pytest
import torch

from actors.flow_path import FlowOde
from actors.flow_sde import FlowSde
from actors.flux_model import FluxModel
from learner.config import EditorLearnerConfig, NftConfig
from learner.nft.policy import NftPolicy
from learner.policy import new_policy
from learner.samples import EditorSample
from tests.learner.conftest import EDITS, random_image
from tests.learner.plain_update import PlainUpdates

CONFIG = EditorLearnerConfig(algorithm="nft", micro_batch=2, seed=5)
SIZES = {"image_size": 64}


@pytest.fixture(scope="module")
def samples(flux_folder) -> list[EditorSample]:
    images, prompts = [random_image(index) for index in range(4)], [EDITS[index % 2] for index in range(4)]
    edits = FluxModel(flux_folder).edit(images, prompts, list(range(4)), FlowOde(4))
    return [
        EditorSample(image, prompt, edit.path, advantage=2.0 - index, seed=100 + index)
        for index, (image, prompt, edit) in enumerate(zip(images, prompts, edits, strict=True))
    ]


def nft(flux_folder, **settings) -> NftPolicy:
    policy = new_policy("editor", flux_folder, CONFIG.model_copy(update=settings), SIZES)
    assert isinstance(policy, NftPolicy)
    return policy


def test_every_edit_is_trained_at_all_levels_that_its_denoising_went_through(flux_folder, samples):
    batches = nft(flux_folder).batches(samples)
    assert [batch.term_positions for batch in batches] == [[0, 0], [1, 1], [2, 2], [3, 3]] * 2
    for batch in batches:
        torch.testing.assert_close(batch.sigma, torch.full((2,), float(samples[0].path.sigmas[batch.place])))
        assert batch.noise.std() == pytest.approx(1, abs=0.1)


def test_noise_and_levels_follow_from_seeds_and_not_from_the_batch(flux_folder, samples):
    policy = nft(flux_folder, nft=NftConfig(levels=2))
    together = policy.batches(samples)
    assert [batch.count for batch in together] == [2, 2, 2, 2]
    (alone, other) = policy.batches(samples[3:])
    for one, all_of_them in ((alone, together[2]), (other, together[3])):
        assert torch.equal(one.noise[0], all_of_them.noise[1])
        assert one.sigma[0] == all_of_them.sigma[1]
    assert alone.sigma[0] > other.sigma[0]
    another = nft(flux_folder, seed=6).batches(samples)
    assert not torch.equal(another[0].noise, nft(flux_folder).batches(samples)[0].noise)


def test_the_velocity_is_that_of_the_noised_edit(flux_folder, samples):
    from actors.conditioning import velocity

    policy = nft(flux_folder)
    batch = policy.batches(samples)[1]
    sigma = float(batch.sigma[0])
    x = (1 - sigma) * torch.tensor(samples[0].path.latents[0]) + sigma * batch.noise[0]
    with torch.no_grad():
        found = policy.evaluate(policy.module, batch).velocity[0]
        expected = velocity(policy.module, x[None], batch.conditioning.take(slice(0, 1)), sigma)[0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("advantage", [2.0, -2.0])
def test_an_update_draws_the_model_to_a_good_edit_and_away_from_a_bad_one(flux_folder, samples, advantage):
    policy = nft(flux_folder)
    only = EditorSample(samples[0].image, samples[0].edit_prompt, samples[0].path, advantage, seed=1)

    def flow_matching() -> float:
        with torch.no_grad():
            batches = policy.batches([only])
            errors = [policy.evaluate(policy.module, b).velocity - (b.noise - b.clean) for b in batches]
        return float(np.mean([(error**2).mean().item() for error in errors]))

    before = flow_matching()
    plain = PlainUpdates(policy, rate=1e-4)
    for _ in range(3):
        plain.update([only])
    assert (flow_matching() - before) * advantage < 0


def test_the_kl_is_zero_at_the_starting_model_and_grows_with_distance(flux_folder, samples):
    policy = nft(flux_folder, kl_coefficient=0.1)
    batch = policy.batches(samples)[0]

    def kl() -> float:
        evaluation = policy.evaluate(policy.module, batch)
        return policy.loss(batch, evaluation, policy.anchor(evaluation).detach(), batch.count)[1]["kl"]

    assert kl() == 0
    with torch.no_grad():
        policy.module.proj_out.bias.add_(0.1)
    assert kl() > 0


def test_paths_of_the_sde_and_mixed_edits_are_refused(flux_folder, samples, editor_samples):
    policy = nft(flux_folder)
    with pytest.raises(ValueError, match="sample edits by the ODE"):
        policy.batches(editor_samples)
    first = samples[0]
    (shorter,) = FluxModel(flux_folder).edit([first.image], [first.edit_prompt], [0], FlowOde(3))
    with pytest.raises(ValueError, match="mixes edits"):
        policy.batches([first, EditorSample(first.image, first.edit_prompt, shorter.path, 1.0)])


def test_flow_grpo_refuses_clean_edits(flux_folder, samples):
    policy = new_policy("editor", flux_folder, EditorLearnerConfig(), SIZES)
    assert not isinstance(policy, NftPolicy)
    with pytest.raises(ValueError, match="no stochastic step"):
        policy.batches(samples)


def test_an_edit_by_the_ode_brings_its_clean_latent(flux_folder):
    model, arguments = FluxModel(flux_folder), ([random_image(1)], [EDITS[0]], [7])
    (plain,), (recorded,) = model.edit(*arguments, steps=3), model.edit(*arguments, FlowOde(3))
    assert plain.path is None
    assert np.array_equal(plain.image, recorded.image)
    path = recorded.path
    assert path.is_clean
    assert (path.latents.shape[0], len(path.sigmas), len(path), path.eta) == (1, 4, 0, 0.0)
    assert path.sigmas[0] == 1
    assert (np.diff(path.sigmas) < 0).all()
    pipe = model.pipe
    unpacked = pipe._unpack_latents(torch.tensor(path.latents), 64, 64, pipe.vae_scale_factor)
    scaled = unpacked / pipe.vae.config.scaling_factor + pipe.vae.config.shift_factor
    with torch.no_grad():
        pixels = pipe.image_processor.postprocess(pipe.vae.decode(scaled).sample, output_type="np")[0]
    assert np.abs(pixels * 255 - recorded.image).max() <= 1
    assert not model.edit(*arguments, FlowSde(0.7, 3))[0].path.is_clean
