"""Learners with adapters: real DeepSpeed engines in real Ray actors, two ranks each."""

import peft
import pytest
import torch
from diffusers import FluxKontextPipeline
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from actors.flow_path import FlowSde
from actors.inverse_diffuser import InverseDiffuser
from learner.config import LearnerConfig
from learner.flow_policy import FlowPolicy
from learner.ranks import Learner
from learner.samples import EditorSample
from learner.vlm_policy import VlmPolicy
from tests.adapted import EDITOR_LORA, VLM_LORA
from tests.learner.plain_update import RATE, PlainUpdates, assert_same_step, weights
from tests.local_cluster import shared_ray
from weights.receipts import verify_receipts

pytestmark = pytest.mark.engines
TWO_RANKS = {"learning_rate": RATE, "micro_batch": 2, "ranks": 2, "cpus_per_rank": 0.5}


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with shared_ray():
        yield


def assert_changed(before, after, stats):
    """The first update moves B alone, as A's gradient is a multiple of B, which begins at zero."""
    moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert moved == {name for name in before if name.endswith("lora_B.weight")}
    assert (stats.tensors, stats.tensors_changed) == (len(before), len(moved))


def test_an_actors_adapter_with_zero_3(vlm_folder, actor_samples, tmp_path):
    settings = {"lora": VLM_LORA, "kl_coefficient": 0.1}
    plain = PlainUpdates(VlmPolicy(vlm_folder, LearnerConfig(**settings)))
    with Learner("actor", vlm_folder, LearnerConfig(zero_stage=3, **TWO_RANKS, **settings)) as learner:
        assert learner.parameters == sum(parameter.numel() for parameter in plain.trained)
        before = weights(learner)
        learner.add(actor_samples[:1])
        stats = learner.update(actor_samples[1:])
        assert_changed(before, weights(learner), stats)
        assert_same_step(learner, stats, plain.update(actor_samples))
        stats = learner.update(actor_samples)
        assert stats.kl > 0
        assert_same_step(learner, stats, plain.update(actor_samples))

        update = learner.weights(2)
        full = sum(tensor.numel() * 4 for tensor in load_file(vlm_folder / "model.safetensors").values())
        assert (update.kind, update.manifest.digest) == ("lora", stats.digest)
        assert update.manifest.adapter == plain.policy.weights.spec()
        assert update.nbytes == 4 * learner.parameters < full / 50

        learner.save(tmp_path / "last")
        saved = sum(file.stat().st_size for file in (tmp_path / "last").rglob("*") if file.is_file())
        assert saved < full / 2
        learner.update(actor_samples[:2])
        held = weights(learner)
        learner.export(tmp_path / "actor")
        assert learner.load(tmp_path / "last") == 2
        learner.update(actor_samples[:2])
        assert all(torch.equal(held[name], tensor) for name, tensor in weights(learner).items())

    base = AutoModelForImageTextToText.from_pretrained(vlm_folder)
    loaded = peft.PeftModel.from_pretrained(base, tmp_path / "actor" / "lora")
    exported = peft.get_peft_model_state_dict(loaded, save_embedding_layers=False)
    assert all(torch.equal(exported[f"base_model.model.{name}"], tensor) for name, tensor in held.items())
    merged, whole = loaded.merge_and_unload().state_dict(), load_file(tmp_path / "actor" / "model.safetensors")
    assert all(torch.equal(merged[name], tensor) for name, tensor in whole.items())


def test_an_editors_adapter_with_zero_2_and_an_editor_that_takes_it(flux_folder, editor_samples, tmp_path):
    plain = PlainUpdates(FlowPolicy(flux_folder, LearnerConfig(lora=EDITOR_LORA, micro_batch=8)))
    editor = InverseDiffuser(flux_folder, replica="e0")
    images, prompts = zip(*((sample.image, sample.edit_prompt) for sample in editor_samples), strict=True)
    with Learner("editor", flux_folder, LearnerConfig(zero_stage=2, lora=EDITOR_LORA, **TWO_RANKS)) as learner:
        before = weights(learner)
        learner.add(editor_samples[:3])
        stats = learner.update(editor_samples[3:])
        assert_changed(before, weights(learner), stats)
        assert_same_step(learner, stats, plain.update(editor_samples))

        update = learner.weights(1)
        receipt = editor.apply_weights(update)
        verify_receipts(update.manifest, [receipt], ["e0"])
        edits = editor.edit(images, prompts, list(range(5)), FlowSde(eta=0.7, steps=5, window=(0, 3)))
        fresh = [
            EditorSample(image, prompt, edit.path, 1.0 - index)
            for index, (image, prompt, edit) in enumerate(zip(images, prompts, edits, strict=True))
        ]
        learner.save(tmp_path / "last")
        assert learner.update(fresh).logprob_mismatch_max < 1e-5
        held = weights(learner)
        learner.export(tmp_path / "editor")
        assert learner.load(tmp_path / "last") == 1
        learner.update(fresh)
        assert all(torch.equal(held[name], tensor) for name, tensor in weights(learner).items())

    pipeline = FluxKontextPipeline.from_pretrained(flux_folder)
    pipeline.load_lora_weights(tmp_path / "editor" / "lora", adapter_name="default")
    loaded = peft.get_peft_model_state_dict(pipeline.transformer)
    assert loaded.keys() == held.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in held.items())


@pytest.mark.long  # policies refuse them in the same way, without a process
def test_an_adapter_that_binds_to_nothing_and_one_of_another_rank_are_refused(vlm_folder, actor_samples, tmp_path):
    nothing = LearnerConfig(lora={"rank": 2, "target_modules": ["to_q"]})
    with pytest.raises(ValueError, match="'to_q' binds to zero modules"):
        Learner("actor", vlm_folder, nothing)
    with Learner("actor", vlm_folder, LearnerConfig(lora=VLM_LORA)) as learner:
        learner.update(actor_samples)
        learner.save(tmp_path / "two")
    other = LearnerConfig(lora=VLM_LORA.model_copy(update={"rank": 4}))
    with (
        Learner("actor", vlm_folder, other) as learner,
        pytest.raises(ValueError, match=r"saved with lora \{'rank': 2.*this learner has \{'rank': 4"),
    ):
        learner.load(tmp_path / "two")
