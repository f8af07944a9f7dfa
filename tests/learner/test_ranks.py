"""Real DeepSpeed engines in real Ray actors. Slow: each learner is a process that imports torch and DeepSpeed."""

from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from learner.config import LearnerConfig
from learner.flow_policy import FlowPolicy
from learner.ranks import Learner, LearnerFailed
from learner.vlm_policy import VlmPolicy
from tests.learner.plain_update import RATE, PlainUpdates, assert_same_step, weights
from tests.local_cluster import shared_ray

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with shared_ray():
        yield


@pytest.fixture(scope="module")
def actor_learner(vlm_folder):
    with Learner("actor", vlm_folder, LearnerConfig(learning_rate=RATE, micro_batch=2)) as learner:
        yield learner


@pytest.fixture(scope="module")
def editor_learner(flux_folder):
    config = LearnerConfig(learning_rate=RATE, micro_batch=3, clip_low=1e-3, clip_high=1e-3, minibatches=2, epochs=2)
    with Learner("editor", flux_folder, config) as learner:
        yield learner


def test_an_actor_update_equals_plain_torch_and_proves_itself(actor_learner, vlm_folder, actor_samples):
    before = actor_learner.weights()
    stats = actor_learner.update(actor_samples)
    after = actor_learner.weights(1)
    assert (stats.version, actor_learner.version, after.manifest.version) == (1, 1, 1)
    assert before.manifest.digest != after.manifest.digest == stats.digest
    assert stats.tensors_changed > 0.9 * stats.tensors
    assert 0 < stats.compute_seconds < stats.seconds
    assert stats.logprob_mismatch_max < 1e-5
    assert len(stats.logprob_mismatch_by_position) == max(len(sample.token_ids) for sample in actor_samples)
    assert max(stats.logprob_mismatch_by_position) <= stats.logprob_mismatch_max
    assert stats.ratio_mean == 1
    assert stats.terms == sum(len(sample.token_ids) for sample in actor_samples)
    policy = VlmPolicy(vlm_folder, LearnerConfig(micro_batch=8))
    assert_same_step(actor_learner, stats, PlainUpdates(policy).update(actor_samples))


def test_stale_answers_show_as_mismatch(actor_learner, actor_samples):
    stale = [replace(s, log_probs=[value - 0.5 for value in s.log_probs]) for s in actor_samples]
    version = actor_learner.version
    stats = actor_learner.update(stale)
    assert stats.version == version + 1
    assert stats.logprob_mismatch_mean > 0.2
    assert stats.importance_mean > 1.1


def test_a_batch_in_parts_makes_the_same_update(actor_learner, actor_samples, tmp_path):
    actor_learner.save(tmp_path / "before")
    before = weights(actor_learner)
    whole = actor_learner.update(actor_samples)
    expected = weights(actor_learner)
    actor_learner.load(tmp_path / "before")
    actor_learner.add(actor_samples[:1])
    actor_learner.add([])
    actor_learner.add(actor_samples[1:3])
    stats = actor_learner.update(actor_samples[3:])
    assert (stats.samples, stats.terms, stats.optimizer_steps) == (whole.samples, whole.terms, 1)
    assert stats.loss == pytest.approx(whole.loss, rel=1e-4, abs=1e-7)
    assert stats.gradient_norm == pytest.approx(whole.gradient_norm, rel=1e-4)
    found = weights(actor_learner)
    moved = sum((expected[name] - before[name]).abs().sum() for name in before)
    assert sum((found[name] - expected[name]).abs().sum() for name in before) < 0.01 * moved


def test_an_error_in_a_part_is_raised_by_the_update_and_leaves_nothing_behind(actor_learner, actor_samples, tmp_path):
    actor_learner.save(tmp_path / "before")
    expected = actor_learner.update(actor_samples[:2]).digest
    actor_learner.load(tmp_path / "before")
    actor_learner.add([replace(sample, advantage=3e38) for sample in actor_samples])
    actor_learner.add(actor_samples)
    with pytest.raises(FloatingPointError, match="the loss is"):
        actor_learner.update()
    with pytest.raises(ValueError, match="batch is empty"):
        actor_learner.update()
    assert actor_learner.update(actor_samples[:2]).digest == expected


def test_bad_batches_are_refused_and_leave_the_learner_as_it_was(actor_learner, actor_samples, editor_samples):
    before = actor_learner.weights()
    with pytest.raises(ValueError, match="batch is empty"):
        actor_learner.update([])
    with pytest.raises(ValueError, match="'actor' trains on ActorSample"):
        actor_learner.update(editor_samples)
    with pytest.raises(ValueError, match="version 99 is asked for"):
        actor_learner.weights(99)
    assert actor_learner.weights().manifest == before.manifest


def test_training_continues_from_a_saved_state_as_if_never_stopped(actor_learner, actor_samples, tmp_path):
    actor_learner.save(tmp_path / "last")
    version = actor_learner.version
    actor_learner.update(actor_samples)
    expected = actor_learner.weights().manifest
    assert actor_learner.load(tmp_path / "last") == version
    actor_learner.update(actor_samples)
    assert actor_learner.weights().manifest == expected


def test_a_missing_and_a_foreign_state_are_refused(actor_learner, editor_learner, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"state\.json"):
        actor_learner.load(tmp_path)
    editor_learner.save(tmp_path / "editor")
    with pytest.raises(ValueError, match="policy 'editor', this learner has 'actor'"):
        actor_learner.load(tmp_path / "editor")


def test_an_exported_actor_loads_in_plain_transformers(actor_learner, actor_samples, tmp_path):
    from transformers import AutoProcessor, Idefics3ForConditionalGeneration

    folder = actor_learner.export(tmp_path / "actor")
    model = Idefics3ForConditionalGeneration.from_pretrained(folder)
    held = weights(actor_learner)
    assert all(torch.equal(tensor, held[name]) for name, tensor in model.state_dict().items())
    processor = AutoProcessor.from_pretrained(folder)
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": actor_samples[0].prompt}]}]
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    inputs = processor(text=text, images=[Image.fromarray(actor_samples[0].image)], return_tensors="pt")
    assert model.generate(**inputs, max_new_tokens=2, do_sample=False).shape[1] == inputs["input_ids"].shape[1] + 2


def test_an_editor_update_takes_its_steps_and_exports_a_pipeline(editor_learner, editor_samples, tmp_path):
    from diffusers import FluxKontextPipeline

    stats = editor_learner.update(editor_samples)
    assert stats.optimizer_steps == 4
    assert stats.terms == 15
    assert stats.logprob_mismatch_max < 1e-4
    assert len(stats.logprob_mismatch_by_position) == 3
    assert stats.ratio_mean != 1
    assert stats.tensors_changed > 0.9 * stats.tensors
    pipeline = FluxKontextPipeline.from_pretrained(editor_learner.export(tmp_path / "editor"))
    held = weights(editor_learner)
    assert all(torch.equal(tensor, held[name]) for name, tensor in pipeline.transformer.state_dict().items())
    assert type(pipeline.scheduler).__name__ == "FlowMatchEulerDiscreteScheduler"
    image = pipeline(
        image=Image.fromarray(editor_samples[0].image),
        prompt=editor_samples[0].edit_prompt,
        height=64,
        width=64,
        max_area=64 * 64,
        _auto_resize=False,
        max_sequence_length=32,
        guidance_scale=1.0,
        num_inference_steps=2,
        output_type="np",
    ).images[0]
    assert np.isfinite(image).all()


@pytest.mark.parametrize("zero_stage", [*(pytest.param(stage, marks=pytest.mark.long) for stage in (0, 2)), 3])
def test_two_ranks_make_the_same_updates_as_one(zero_stage, vlm_folder, actor_samples, tmp_path):
    settings = {"learning_rate": RATE, "kl_coefficient": 0.1}
    config = LearnerConfig(micro_batch=2, ranks=2, zero_stage=zero_stage, cpus_per_rank=0.5, **settings)
    plain = PlainUpdates(VlmPolicy(vlm_folder, LearnerConfig(**settings)))
    with Learner("actor", vlm_folder, config) as learner:
        assert learner.parameters == sum(parameter.numel() for parameter in plain.trained)
        learner.add(actor_samples[:1])  # rank 1 has nothing of it
        stats = learner.update(actor_samples[1:])
        assert stats.terms == sum(len(sample.token_ids) for sample in actor_samples)
        assert stats.tensors == len(plain.policy.weights.tensors())
        assert_same_step(learner, stats, plain.update(actor_samples))
        stats = learner.update(actor_samples)
        assert stats.kl > 0
        assert_same_step(learner, stats, plain.update(actor_samples))
        learner.save(tmp_path / "last")
        learner.update(actor_samples[:1])  # rank 1 has nothing of its own
        held = weights(learner)
        exported = AutoModelForImageTextToText.from_pretrained(learner.export(tmp_path / "actor")).state_dict()
        assert all(torch.equal(exported[name], tensor) for name, tensor in held.items())
        learner.load(tmp_path / "last")
        learner.update(actor_samples[:1])
        assert all(torch.equal(held[name], tensor) for name, tensor in weights(learner).items())


def test_two_ranks_train_the_editor_with_zero_3(flux_folder, editor_samples, tmp_path):
    from diffusers import FluxTransformer2DModel

    config = LearnerConfig(learning_rate=RATE, micro_batch=2, ranks=2, zero_stage=3, cpus_per_rank=0.5)
    plain = PlainUpdates(FlowPolicy(flux_folder, LearnerConfig()))
    with Learner("editor", flux_folder, config) as learner:
        learner.add(editor_samples[:3])
        stats = learner.update(editor_samples[3:])
        assert stats.terms == 15
        assert_same_step(learner, stats, plain.update(editor_samples))
        exported = FluxTransformer2DModel.from_pretrained(learner.export(tmp_path / "editor"), subfolder="transformer")
        held = weights(learner)
        assert all(torch.equal(held[name], tensor) for name, tensor in exported.state_dict().items())


def test_an_update_that_changes_nothing_a_lost_rank_and_a_missed_deadline_are_named(vlm_folder, actor_samples):
    with Learner("actor", vlm_folder, LearnerConfig(deadline_s=0.01)) as learner:
        with pytest.raises(LearnerFailed, match=r"update: rank \[0\] did not answer within 0.01 s"):
            learner.update(actor_samples)
        with pytest.raises(LearnerFailed, match="is closed"):
            learner.weights()
    with Learner("actor", vlm_folder, LearnerConfig(learning_rate=RATE, decay_updates=2)) as learner:
        rates = [learner.update(actor_samples).learning_rate for _ in range(2)]
        assert rates == pytest.approx([RATE, 0.55 * RATE])
    with Learner("actor", vlm_folder, LearnerConfig()) as learner:
        with pytest.raises(RuntimeError, match="changed none of"):
            learner.update([replace(sample, advantage=0.0) for sample in actor_samples])
        psutil.Process(learner.sites[0].process).kill()
        with pytest.raises(LearnerFailed, match=r"update: rank 0 was lost \(process \d+ on node .*, log .*\): .*dmesg"):
            learner.update(actor_samples)


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(OSError, match="absent"):
        Learner("actor", tmp_path / "absent", LearnerConfig())
    with pytest.raises(ValueError, match="must be one of actor, editor"):
        Learner("checker", tmp_path, LearnerConfig())
