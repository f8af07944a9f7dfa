"""What is sent and written: the model with an adapter added, and the adapter alone, as the libraries load them."""

import peft
import pytest
import torch
from diffusers import FluxKontextPipeline
from transformers import AutoModelForImageTextToText

from learner.config import LearnerConfig
from learner.flow_policy import FlowPolicy
from learner.vlm_policy import VlmPolicy
from tests.adapted import EDITOR_LORA, VLM_LORA, trained_a_little
from weights.lora_config import LoraConfig


@pytest.fixture(scope="module")
def actor(vlm_folder, actor_samples):
    policy = VlmPolicy(vlm_folder, LearnerConfig(lora=VLM_LORA, micro_batch=8))
    return trained_a_little(policy, actor_samples)


@pytest.fixture(scope="module")
def editor(flux_folder, editor_samples):
    policy = FlowPolicy(flux_folder, LearnerConfig(lora=EDITOR_LORA, micro_batch=8))
    return trained_a_little(policy, editor_samples, rate=0.3)


def log_probs(policy, samples) -> torch.Tensor:
    with torch.no_grad():
        return policy.evaluate(policy.module, policy.batches(samples)[0]).log_probs


def test_all_weights_go_under_the_names_of_the_folder(vlm_folder):
    policy = VlmPolicy(vlm_folder, LearnerConfig())
    assert policy.weights.spec() is None
    tensors, state = policy.weights.tensors(), policy.module.state_dict()
    assert list(tensors) == list(state)
    assert all(tensors[name].data_ptr() == state[name].data_ptr() for name in state)


@pytest.mark.parametrize("name", ["actor", "editor"])
def test_an_adapter_is_a_small_part_of_the_model(name, request):
    policy = request.getfixturevalue(name)
    tensors, spec = policy.weights.tensors(), policy.weights.spec()
    assert set(tensors) == {part for target in spec.targets for part in target.names}
    assert 0 < sum(t.numel() for t in tensors.values()) < 0.05 * sum(p.numel() for p in policy.module.parameters())


def test_an_exported_actor_and_its_adapter_give_the_learners_log_probs(actor, vlm_folder, actor_samples, tmp_path):
    actor.export(tmp_path)
    expected = log_probs(actor, actor_samples)
    start = VlmPolicy(vlm_folder, LearnerConfig(micro_batch=8))
    assert (log_probs(start, actor_samples) - expected).abs().max() > 1e-2
    whole = VlmPolicy(tmp_path, LearnerConfig(micro_batch=8))
    torch.testing.assert_close(log_probs(whole, actor_samples), expected, atol=1e-5, rtol=0)

    base = AutoModelForImageTextToText.from_pretrained(vlm_folder, dtype=torch.float32)
    loaded = peft.PeftModel.from_pretrained(base, tmp_path / "lora").eval()
    held = peft.get_peft_model_state_dict(loaded, save_embedding_layers=False)
    sent = actor.weights.tensors()
    assert {name.removeprefix("base_model.model.") for name in held} == sent.keys()
    assert all(torch.equal(held[f"base_model.model.{name}"], tensor) for name, tensor in sent.items())
    start.module = loaded
    assert torch.equal(log_probs(start, actor_samples), expected)


def test_an_exported_editor_and_its_adapter_give_the_learners_log_probs(editor, flux_folder, editor_samples, tmp_path):
    editor.export(tmp_path)
    expected = log_probs(editor, editor_samples)
    start = FlowPolicy(flux_folder, LearnerConfig(micro_batch=8))
    assert (log_probs(start, editor_samples) - expected).abs().max() > 1e-3
    whole = FlowPolicy(tmp_path, LearnerConfig(micro_batch=8))
    torch.testing.assert_close(log_probs(whole, editor_samples), expected, atol=1e-5, rtol=0)

    pipeline = FluxKontextPipeline.from_pretrained(flux_folder)
    pipeline.load_lora_weights(tmp_path / "lora")
    start.module = pipeline.transformer.eval()
    assert torch.equal(log_probs(start, editor_samples), expected)


def test_a_policy_that_gives_no_folder_writes_nothing(editor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    editor.export(None)
    assert list(tmp_path.iterdir()) == []


def test_the_base_of_an_adapter_is_that_of_its_layers(flux_folder, editor):
    layers = FlowPolicy(flux_folder, LearnerConfig()).module.state_dict()
    other = LoraConfig(rank=2, target_modules=("proj_out",))
    policy = FlowPolicy(flux_folder, LearnerConfig(lora=other))
    bases = {editor.weights.spec().base, policy.weights.spec().base}
    with torch.no_grad():
        policy.module.single_transformer_blocks[0].proj_out.base_layer.weight[0, 0] += 1e-3
    policy.weights._spec = None
    assert len(bases | {policy.weights.spec().base}) == 3
    assert all(target.weight in layers for target in policy.weights.spec().targets)
