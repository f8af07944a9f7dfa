from dataclasses import replace

import pytest
import torch

from actors.flow_path import FlowSde
from actors.flux_model import FluxModel
from learner.config import EditorLearnerConfig, LearnerConfig
from learner.flow_policy import FlowPolicy
from learner.samples import EditorSample
from tests.adapted import EDITOR_LORA, trained_a_little


@pytest.fixture(scope="module")
def policy(flux_folder) -> FlowPolicy:
    return FlowPolicy(flux_folder, LearnerConfig(micro_batch=2, kl_coefficient=0.1))


def test_log_probs_equal_those_of_the_rollout_in_another_batch(policy, editor_samples):
    batches = policy.batches(editor_samples)
    assert [batch.count for batch in batches] == [2] * 6 + [1] * 3
    with torch.no_grad():
        for batch in batches:
            log_probs = policy.evaluate(policy.module, batch).log_probs
            assert policy.mismatch(batch, log_probs).max() < 1e-4


def test_each_terms_mismatch_comes_with_its_denoising_step(policy, editor_samples):
    batches = policy.batches(editor_samples)
    assert [batch.term_positions for batch in batches] == [[0, 0], [1, 1], [2, 2]] * 2 + [[0], [1], [2]]
    for batch in batches:
        sigmas = torch.tensor([sample.path.sigmas[batch.place] for sample in editor_samples[: batch.count]])
        torch.testing.assert_close(batch.sigma, sigmas, atol=0, rtol=0)


def test_only_the_transformer_is_trained(policy, editor_samples):
    batch = policy.batches(editor_samples)[0]
    policy.evaluate(policy.module, batch).log_probs.sum().backward()
    pipeline = policy.model.pipe
    for part in (pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2):
        assert all(not p.requires_grad and p.grad is None for p in part.parameters())
    trained = [p for p in policy.module.parameters() if p.grad is not None and p.grad.any()]
    assert len(trained) > 100
    policy.module.zero_grad()


def test_the_kl_is_zero_at_the_starting_model_and_grows_with_distance(flux_folder, editor_samples):
    policy = FlowPolicy(flux_folder, LearnerConfig(kl_coefficient=0.1))
    batch = policy.batches(editor_samples)[0]

    def kl() -> float:
        evaluation = policy.evaluate(policy.module, batch)
        return policy.loss(batch, evaluation, evaluation.log_probs.detach(), batch.count)[1]["kl"]

    assert kl() == 0
    with torch.no_grad():
        policy.module.proj_out.bias.add_(0.1)
    assert kl() > 0


def test_with_an_adapter_the_kl_is_to_the_transformer_without_it_and_no_copy_is_kept(flux_folder, editor_samples):
    policy = FlowPolicy(flux_folder, LearnerConfig(kl_coefficient=0.1, lora=EDITOR_LORA))
    copying = FlowPolicy(flux_folder, LearnerConfig(kl_coefficient=0.1))
    assert policy.reference is None
    batch = policy.batches(editor_samples)[0]

    def kl(reference) -> float:
        policy.reference = reference
        evaluation = policy.evaluate(policy.module, batch)
        return policy.loss(batch, evaluation, evaluation.log_probs.detach(), batch.count)[1]["kl"]

    assert kl(None) == 0
    trained_a_little(policy, editor_samples)
    assert kl(None) == kl(copying.reference) > 0


def test_log_probs_of_coefficient_preserving_steps_equal_those_of_the_rollout(flux_folder, editor_samples):
    images, prompts = [s.image for s in editor_samples], [s.edit_prompt for s in editor_samples]
    edits = FluxModel(flux_folder).edit(images, prompts, list(range(5)), FlowSde(0.8, 5, (0, 3), sampler="cps"))
    samples = [replace(sample, path=edit.path) for sample, edit in zip(editor_samples, edits, strict=True)]
    learner = FlowPolicy(flux_folder, LearnerConfig(micro_batch=2), sampler="cps")
    other = FlowPolicy(flux_folder, LearnerConfig(micro_batch=2))
    with torch.no_grad():
        for batch in learner.batches(samples):
            log_probs = learner.evaluate(learner.module, batch).log_probs
            assert learner.mismatch(batch, log_probs).max() < 1e-4
            assert other.mismatch(batch, other.evaluate(other.module, batch).log_probs).min() > 0.01


def test_with_a_guard_the_learner_keeps_means_from_which_the_same_log_probabilities_follow(
    policy, flux_folder, editor_samples
):
    guarded = FlowPolicy(flux_folder, EditorLearnerConfig(micro_batch=2, guard=True))
    for batch in guarded.batches(editor_samples):
        with torch.no_grad():
            evaluation = guarded.evaluate(guarded.module, batch)
            anchor = guarded.anchor(evaluation)
            assert anchor.shape == batch.latents.shape
            assert guarded.mismatch(batch, anchor).equal(policy.mismatch(batch, evaluation.log_probs))
            loss, sums = guarded.loss(batch, evaluation, anchor, batch.count)
        assert sums["ratio"] == batch.count  # before the first step
        length = batch.sigma - batch.next_sigma
        expected = -(batch.advantages / length * torch.exp(evaluation.log_probs - batch.rollout_log_probs)).mean()
        torch.testing.assert_close(loss, expected)


def test_paths_of_different_settings_are_refused(policy, flux_folder, editor_samples):
    sample = editor_samples[0]
    (edit,) = FluxModel(flux_folder).edit([sample.image], [sample.edit_prompt], [0], FlowSde(0.7, 4, (0, 2)))
    with pytest.raises(ValueError, match="mixes paths"):
        policy.batches([sample, EditorSample(sample.image, sample.edit_prompt, edit.path, 1.0)])
    with pytest.raises(ValueError, match="mixes paths"):
        policy.batches([sample, replace(sample, path=replace(sample.path, eta=0.9))])
