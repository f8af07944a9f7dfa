"""The editor's learner with every family of editors, tiny and randomly initialised: log-probabilities, LoRA, export."""

from dataclasses import replace

import diffusers
import peft
import pytest
import torch

from actors.conditioning import velocity
from actors.flow_path import FlowSde
from actors.inverse_diffuser import InverseDiffuser
from actors.model_families import load_editor
from learner.config import LearnerConfig
from learner.flow_policy import FlowPolicy
from learner.ranks import Learner
from learner.samples import EditorSample
from tests.adapted import trained_a_little
from tests.learner.plain_update import RATE, PlainUpdates, assert_same_step, weights
from tests.tiny_families import EDITORS, images
from weights.lora_config import LoraConfig
from weights.manifest import pack
from weights.receipts import verify_receipts

PROMPTS = ["move the red circle left of the blue square", "make it green", "make it green"]
SDE = FlowSde(eta=0.9, steps=4, window=(0, 2))


class Family:
    """A tiny editor's folder, and what it is loaded with."""

    def __init__(self, name: str, root) -> None:
        family = EDITORS[name]
        self.name, self.settings = name, family.settings
        self.folder = family.build(root / name)
        self.lora = LoraConfig(rank=2, alpha=4.0, target_modules=family.target_modules)

    def policy(self, **config) -> FlowPolicy:
        return FlowPolicy(self.folder, LearnerConfig(lora=self.lora, **config), **self.settings)

    def worker(self, **settings) -> InverseDiffuser:
        return InverseDiffuser(self.folder, replica="e0", **self.settings, **settings)


@pytest.fixture(scope="module", params=list(EDITORS))
def family(request, tmp_path_factory) -> Family:
    return Family(request.param, tmp_path_factory.mktemp("models"))


def rollout(editor: InverseDiffuser) -> list[EditorSample]:
    sources = [images(2)[k] for k in (0, 1, 1)]
    edits = editor.edit(sources, PROMPTS, [1, 2, 3], SDE)
    return [
        EditorSample(i, p, e.path, k - 1.0) for k, (i, p, e) in enumerate(zip(sources, PROMPTS, edits, strict=True))
    ]


@pytest.fixture(scope="module")
def samples(family) -> list[EditorSample]:
    return rollout(family.worker())


def mismatch(policy: FlowPolicy, samples) -> float:
    with torch.no_grad():
        return max(
            policy.mismatch(batch, policy.evaluate(policy.module, batch).log_probs).max().item()
            for batch in policy.batches(samples)
        )


@torch.no_grad()
def predicted(transformer, batch) -> torch.Tensor:
    return velocity(transformer, batch.latents, batch.conditioning, batch.sigma)


def test_the_learners_log_probs_are_the_rollouts(family, samples):
    assert mismatch(family.policy(micro_batch=2), samples) < 1e-4


def test_training_moves_the_adapter_alone_and_the_worker_takes_it(family, samples):
    policy, worker = family.policy(micro_batch=2), family.worker()
    before = {name: tensor.clone() for name, tensor in policy.module.state_dict().items()}
    trained_a_little(policy, samples)
    moved = {name for name, tensor in policy.module.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {"lora_A" in name for name in moved} == {True, False}
    assert all("lora_" in name for name in moved)  # but not all of it: what only changes the text at the end is unused
    assert mismatch(policy, samples) > 1e-3

    update = pack("editor", 1, policy.weights.tensors(), adapter=policy.weights.spec())
    receipt = worker.apply_weights(update)
    verify_receipts(update.manifest, [receipt], ["e0"])
    assert receipt.version == 1
    assert mismatch(policy, rollout(worker)) < 1e-4


def test_diffusers_and_peft_load_what_is_exported_and_compute_the_same(family, samples, tmp_path):
    policy = trained_a_little(family.policy(micro_batch=4), samples)
    policy.export(tmp_path / "editor")
    batch = policy.batches(samples)[0]
    expected = predicted(policy.module, batch)

    base = load_editor(family.folder, **family.settings).pipe
    assert (predicted(base.transformer, batch) - expected).abs().max() > 1e-2
    base.load_lora_weights(tmp_path / "editor" / "lora", adapter_name="default")
    torch.testing.assert_close(predicted(base.transformer, batch), expected, atol=1e-6, rtol=0)
    loaded, held = peft.get_peft_model_state_dict(base.transformer), policy.weights.tensors()
    assert loaded.keys() == held.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in held.items())

    whole = load_editor(tmp_path / "editor", **family.settings)
    torch.testing.assert_close(predicted(whole.transformer, batch), expected, atol=1e-4, rtol=0)
    assert type(whole.pipe) is getattr(diffusers, type(base).__name__)


def test_layers_that_are_computed_again_give_the_same_gradients(family, samples):
    def gradients(**config) -> torch.Tensor:
        policy = family.policy(micro_batch=4, **config)
        (batch, _) = policy.batches(samples)
        policy.evaluate(policy.module, batch).log_probs.sum().backward()
        return torch.cat([p.grad.flatten() for p in policy.module.parameters() if p.grad is not None])

    kept, again = gradients(), gradients(gradient_checkpointing=True)
    assert kept.any()
    torch.testing.assert_close(again, kept, atol=1e-6, rtol=1e-4)


def test_learner_and_worker_in_bfloat16_agree_as_far_as_its_rounding_goes(family):
    worker = family.worker(dtype="bfloat16")
    policy = family.policy(micro_batch=4, dtype="bfloat16", ranks=2, zero_stage=2)
    assert {tensor.dtype for tensor in policy.module.state_dict().values()} == {torch.bfloat16}
    found = rollout(worker)
    assert mismatch(policy, found) < 0.02
    trained_a_little(policy, found)
    update = pack("editor", 1, policy.weights.tensors(), adapter=policy.weights.spec())
    verify_receipts(update.manifest, [worker.apply_weights(update)], ["e0"])
    assert mismatch(policy, rollout(worker)) < 0.02


def test_a_lora_that_binds_to_nothing_is_refused_by_name(family):
    nothing = LearnerConfig(lora={"target_modules": ["to_q", "to_nowhere"]})
    with pytest.raises(ValueError, match="'to_nowhere' binds to zero modules; linear layers that exist are"):
        FlowPolicy(family.folder, nothing, **family.settings)


def also_long(names) -> list:
    return [pytest.param(name, marks=pytest.mark.long) for name in names]


@pytest.mark.engines
@pytest.mark.parametrize("family", [*list(EDITORS)[:1], *also_long(list(EDITORS)[1:])], indirect=True, scope="module")
@pytest.mark.parametrize("stage", [pytest.param(2, marks=pytest.mark.long), 3])
def test_an_update_with_zero_is_the_plain_one_and_is_exported(cluster, family, samples, stage, tmp_path):
    ranks = {"learning_rate": RATE, "micro_batch": 2, "ranks": 2, "cpus_per_rank": 0.5, "zero_stage": stage}
    plain = PlainUpdates(family.policy(micro_batch=4))
    config = LearnerConfig(lora=family.lora, start_deadline_s=600.0, **ranks)
    with Learner("editor", family.folder, config, family.settings) as learner:
        before = weights(learner)
        stats = learner.update(samples)
        assert stats.logprob_mismatch_max < 1e-4
        moved = {name for name, tensor in weights(learner).items() if not torch.equal(tensor, before[name])}
        assert moved
        assert all(name.endswith("lora_B.weight") for name in moved)
        assert_same_step(learner, stats, plain.update(samples))

        worker, update = family.worker(), learner.weights(1)
        verify_receipts(update.manifest, [worker.apply_weights(update)], ["e0"])
        fresh = [replace(sample, advantage=1.0 - k) for k, sample in enumerate(rollout(worker))]
        assert learner.update(fresh).logprob_mismatch_max < 1e-4
        held = weights(learner)
        learner.export(tmp_path / "editor")
    pipe = load_editor(family.folder, **family.settings).pipe
    pipe.load_lora_weights(tmp_path / "editor" / "lora", adapter_name="default")
    loaded = peft.get_peft_model_state_dict(pipe.transformer)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in held.items())
