"""An Inverse Diffuser that takes adapters from the learner's side, instead of all weights."""

from dataclasses import replace

import pytest
import torch

from actors.flow_path import FlowSde
from actors.inverse_diffuser import InverseDiffuser
from learner.config import LearnerConfig
from learner.flow_policy import FlowPolicy
from learner.pretraining.flux_model import build
from learner.samples import EditorSample
from weights.checksums import tensors_digest
from weights.lora_config import LoraConfig
from weights.manifest import WeightMismatch, WeightUpdate, pack
from weights.receipts import verify_receipts

PROMPTS = [
    "move red circle left of blue square",
    "move green star above red circle",
    "move red circle left of blue star",
]
LORA = LoraConfig(rank=4, alpha=6.0, target_modules=("to_q", "add_v_proj", "proj_mlp"))
SDE = FlowSde(0.7, 4)


@pytest.fixture
def editor(flux_folder) -> InverseDiffuser:
    return InverseDiffuser(flux_folder, replica="e0")


@pytest.fixture
def policy(flux_folder) -> FlowPolicy:
    return changed(FlowPolicy(flux_folder, LearnerConfig(lora=LORA)), 1)


@torch.no_grad()
def changed(policy: FlowPolicy, seed: int) -> FlowPolicy:
    """The policy with other values in its adapter."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in policy.weights.tensors().values():
        tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
    return policy


def update_of(policy: FlowPolicy, version: int, name: str = "editor") -> WeightUpdate:
    return pack(name, version, policy.weights.tensors(), adapter=policy.weights.spec())


def mismatch(policy: FlowPolicy, editor: InverseDiffuser, images) -> float:
    """The greatest |learner − editor| of the log-probabilities of an edit's steps."""
    edits = editor.edit(images, PROMPTS, [1, 2, 3], SDE)
    samples = [EditorSample(i, p, e.path, 1.0) for i, p, e in zip(images, PROMPTS, edits, strict=True)]
    with torch.no_grad():
        return max(
            policy.mismatch(batch, policy.evaluate(policy.module, batch).log_probs).max().item()
            for batch in policy.batches(samples)
        )


def test_log_probs_with_adapters_are_the_learners_over_several_updates(editor, policy, images):
    base = tensors_digest(editor.model.transformer.state_dict())
    assert mismatch(policy, editor, images) > 1e-3
    first = update_of(policy, 1)
    receipt = editor.apply_weights(first)
    verify_receipts(first.manifest, [receipt], ["e0"])
    assert (receipt.version, editor.version(), receipt.previous_digest) == (1, 1, base)
    assert (receipt.base, receipt.merged) == (policy.weights.spec().base, None)
    assert mismatch(policy, editor, images) < 1e-5

    second = update_of(changed(policy, 2), 2)
    assert mismatch(policy, editor, images) > 1e-3
    after = editor.apply_weights(second)
    verify_receipts(second.manifest, [after], ["e0"])
    assert (after.previous_digest, after.previous_version) == (receipt.digest, 1)
    assert after.previous_probe == receipt.probe
    assert mismatch(policy, editor, images) < 1e-5


def test_only_the_adapter_is_sent_and_the_base_stays(editor, policy):
    weights = {name: tensor.clone() for name, tensor in editor.model.transformer.state_dict().items()}
    update = update_of(policy, 1)
    assert update.nbytes < sum(tensor.numel() * 4 for tensor in weights.values()) / 30
    editor.apply_weights(update)
    held = {name.replace(".base_layer.", "."): t for name, t in editor.model.transformer.state_dict().items()}
    assert all(torch.equal(held[name], tensor) for name, tensor in weights.items())


def test_an_adapter_of_another_model_policy_or_shape_is_refused_and_changes_nothing(editor, policy, tmp_path):
    other = FlowPolicy(build(tmp_path / "other", seed=9), LearnerConfig(lora=LORA))
    spec, tensors = policy.weights.spec(), policy.weights.tensors()
    refused = {
        "the same model folder": update_of(other, 1),
        "this replica holds policy 'editor'": update_of(policy, 1, "actor"),
        "1 tensors of the adapter do not fit": pack("editor", 1, dict(list(tensors.items())[1:]), adapter=spec),
        "the replica's model has no layer 'absent'": pack(
            "editor", 1, tensors, adapter=replace(spec, targets=(replace(spec.targets[0], module="absent"),))
        ),
    }
    digest = tensors_digest(editor.model.transformer.state_dict())
    for named, update in refused.items():
        with pytest.raises(WeightMismatch, match=rf"replica 'e0'.*{named}"):
            editor.apply_weights(update)
    assert tensors_digest(editor.model.transformer.state_dict()) == digest
    assert editor.version() == 0


def test_another_kind_of_update_than_the_one_before_is_refused(editor, policy):
    full = pack("editor", 2, editor.model.transformer.state_dict())
    editor.apply_weights(update_of(policy, 1))
    digest = tensors_digest(editor.model.transformer.state_dict())
    with pytest.raises(WeightMismatch, match="the replica holds an adapter"):
        editor.apply_weights(full)
    spec = replace(policy.weights.spec(), alpha=1.0)
    with pytest.raises(WeightMismatch, match=r"rank, alpha, layers or base weights are not those of version 1"):
        editor.apply_weights(pack("editor", 2, policy.weights.tensors(), adapter=spec))
    assert tensors_digest(editor.model.transformer.state_dict()) == digest
    assert editor.version() == 1


def test_an_editor_that_holds_an_adapter_and_does_not_use_it_is_told_by_its_probe(editor, policy):
    editor.apply_weights(update_of(policy, 1))
    editor.model.transformer.disable_adapters()
    update = update_of(changed(policy, 2), 2)
    with pytest.raises(WeightMismatch, match=r"replica 'e0'.*does not use them"):
        verify_receipts(update.manifest, [editor.apply_weights(update)])


def test_what_it_draws_is_the_frozen_models_whatever_adapter_has_come(editor, policy, images):
    seeds, before = [1, 2, 3], editor.draw(PROMPTS, [1, 2, 3], steps=2)
    edits = editor.edit(images, PROMPTS, seeds)
    editor.apply_weights(update_of(policy, 1))
    changed_edits = editor.edit(images, PROMPTS, seeds)
    assert any((one.image != other.image).any() for one, other in zip(edits, changed_edits, strict=True))
    for one, other in zip(before, editor.draw(PROMPTS, seeds, steps=2), strict=True):
        assert (one == other).all()
    again = editor.edit(images, PROMPTS, seeds)  # the adapter is back
    assert all((one.image == other.image).all() for one, other in zip(changed_edits, again, strict=True))


def test_other_weights_than_those_on_disk_draw_no_more(editor, flux_folder):
    whole = FlowPolicy(flux_folder, LearnerConfig())
    with torch.no_grad():
        for tensor in whole.weights.tensors().values():
            tensor.mul_(1.5)
    editor.apply_weights(pack("editor", 1, whole.weights.tensors()))
    with pytest.raises(ValueError, match="holds version 1 of all weights: it draws no more"):
        editor.draw(PROMPTS, [1, 2, 3])


def test_drawings_take_steps_of_their_own(flux_folder):
    own = InverseDiffuser(flux_folder, steps=4, draw_steps=2)
    asked = InverseDiffuser(flux_folder, steps=4)
    (drawn,), (same,) = own.draw(PROMPTS[:1], [1]), asked.draw(PROMPTS[:1], [1], steps=2)
    assert (drawn == same).all()
    assert (drawn != asked.draw(PROMPTS[:1], [1])[0]).any()
