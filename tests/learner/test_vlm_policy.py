from dataclasses import replace

import pytest
import torch

from learner.config import LearnerConfig
from learner.trained_weights import folder_names
from learner.vlm_policy import VlmPolicy
from tests.adapted import VLM_LORA, trained_a_little


@pytest.fixture(scope="module")
def policy(vlm_folder) -> VlmPolicy:
    return VlmPolicy(vlm_folder, LearnerConfig(micro_batch=8, kl_coefficient=0.1))


def evaluate(policy, samples) -> tuple:
    (batch,) = policy.batches(samples)
    return batch, policy.evaluate(policy.module, batch).log_probs


def test_log_probs_equal_those_of_transformers_own_sampling(policy, actor_samples):
    batch, log_probs = evaluate(policy, actor_samples)
    assert batch.count == sum(len(sample.token_ids) for sample in actor_samples)
    assert policy.mismatch(batch, log_probs.detach()).max() < 1e-5


def test_each_terms_mismatch_comes_with_its_place_in_the_answer(policy, actor_samples):
    place, last = 2, actor_samples[-1]
    rollout = list(last.log_probs)
    rollout[place] -= 0.5
    (same,), (batch,) = (
        policy.batches([*actor_samples[:-1], sample]) for sample in (last, replace(last, log_probs=rollout))
    )
    assert batch.term_positions == [place for sample in actor_samples for place in range(len(sample.token_ids))]
    mismatch = policy.mismatch(batch, same.rollout_log_probs)
    assert [batch.term_positions[term] for term in mismatch.nonzero().flatten().tolist()] == [place]
    assert mismatch.max().item() == pytest.approx(0.5, abs=1e-5)


def test_an_answers_log_probs_do_not_depend_on_the_batch(policy, actor_samples):
    _, together = evaluate(policy, actor_samples)
    for index, sample in enumerate(actor_samples):
        _, alone = evaluate(policy, [sample])
        torch.testing.assert_close(alone[0], together[index, : len(sample.token_ids)], atol=1e-5, rtol=0)


def test_answers_to_one_prompt_share_its_encoding(policy, actor_samples):
    first, second = actor_samples[0], actor_samples[1]
    members = [replace(sample, image=first.image.copy(), prompt=first.prompt) for sample in actor_samples[:3]]
    batch, together = evaluate(policy, [members[0], second, members[1], members[2]])
    assert batch.prompts == [0, 1, 0, 0]
    assert len(batch.images["pixel_values"]) == len(batch.image_tokens) == 2
    for row, sample in zip((0, 2, 3), members, strict=True):
        _, alone = evaluate(policy, [sample])
        torch.testing.assert_close(alone[0], together[row, : len(sample.token_ids)], atol=1e-5, rtol=0)
    _, alone = evaluate(policy, [second])
    torch.testing.assert_close(alone[0], together[1, : len(second.token_ids)], atol=1e-5, rtol=0)


def test_the_image_and_the_prompt_matter(policy, actor_samples):
    sample = actor_samples[0]
    _, log_probs = evaluate(policy, [sample])
    for other in (replace(sample, image=255 - sample.image), replace(sample, prompt="goal : fix ?")):
        _, changed = evaluate(policy, [other])
        assert (changed - log_probs).abs().max() > 1e-4


def test_samples_are_split_into_micro_batches(vlm_folder, actor_samples):
    policy = VlmPolicy(vlm_folder, LearnerConfig(micro_batch=2))
    assert [len(batch.advantages) for batch in policy.batches(actor_samples)] == [2, 2, 1]


def test_a_sampled_image_token_ends_the_trained_part(policy, actor_samples):
    sample = actor_samples[4]
    token_ids = list(sample.token_ids)
    token_ids[2] = policy.module.config.image_token_id
    batch, log_probs = evaluate(policy, [replace(sample, token_ids=token_ids)])
    assert batch.count == 3
    _, expected = evaluate(policy, [sample])
    torch.testing.assert_close(log_probs[0, :2], expected[0, :2], atol=1e-5, rtol=0)


def test_the_kl_is_zero_at_the_starting_model_and_grows_with_distance(vlm_folder, actor_samples):
    policy = VlmPolicy(vlm_folder, LearnerConfig(kl_coefficient=0.1))
    (batch,) = policy.batches(actor_samples)

    def kl() -> float:
        evaluation = policy.evaluate(policy.module, batch)
        return policy.loss(batch, evaluation, evaluation.log_probs.detach(), batch.count)[1]["kl"]

    assert kl() == 0
    with torch.no_grad():
        policy.module.lm_head.weight.add_(0.05 * torch.randn_like(policy.module.lm_head.weight))
    assert kl() > 0


def test_with_an_adapter_the_kl_is_to_the_model_without_it_and_no_copy_is_kept(vlm_folder, actor_samples):
    policy = VlmPolicy(vlm_folder, LearnerConfig(kl_coefficient=0.1, lora=VLM_LORA, micro_batch=8))
    copying = VlmPolicy(vlm_folder, LearnerConfig(kl_coefficient=0.1, micro_batch=8))
    assert policy.reference is None
    (batch,) = policy.batches(actor_samples)

    def kl_and_gradient(reference) -> tuple[float, torch.Tensor]:
        policy.reference = reference
        evaluation = policy.evaluate(policy.module, batch)
        loss, sums = policy.loss(batch, evaluation, evaluation.log_probs.detach(), batch.count)
        trained = [parameter for parameter in policy.module.parameters() if parameter.requires_grad]
        return sums["kl"], torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, trained)])

    assert kl_and_gradient(None)[0] == 0
    trained_a_little(policy, actor_samples)
    (kl, gradient), (expected, expected_gradient) = kl_and_gradient(None), kl_and_gradient(copying.reference)
    assert kl == expected > 0.1
    assert torch.equal(gradient, expected_gradient)


def test_tensors_that_transformers_renames_have_the_names_of_their_folder():
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {"hidden_size": 32, "intermediate_size": 32, "depth": 1, "num_heads": 2, "out_hidden_size": 32}
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision))
    names = folder_names(model)
    assert names.keys() == model.state_dict().keys()
    assert names["model.language_model.layers.0.mlp.up_proj.weight"] == "model.layers.0.mlp.up_proj.weight"
    assert names["model.visual.blocks.0.attn.qkv.weight"] == "visual.blocks.0.attn.qkv.weight"
    assert names["lm_head.weight"] == "lm_head.weight"


def test_every_parameter_of_vision_and_text_gets_a_gradient(policy, actor_samples):
    _, log_probs = evaluate(policy, actor_samples)
    log_probs.sum().backward()
    missing = [name for name, p in policy.module.named_parameters() if p.grad is None or not p.grad.any()]
    policy.module.zero_grad()
    assert [name for name in missing if not name.endswith("k_proj.bias")] == []


def test_a_system_prompt_stands_before_the_request_as_the_engine_puts_it(vlm_folder, actor_samples):
    plain = VlmPolicy(vlm_folder, LearnerConfig(micro_batch=8))
    policy = VlmPolicy(vlm_folder, LearnerConfig(micro_batch=8), system_prompt="is it above ?")
    assert policy._prompt_text("fix ?") == "<system>is it above ?<end_of_utterance>" + plain._prompt_text("fix ?")
    (batch,), (without,) = policy.batches(actor_samples), plain.batches(actor_samples)
    assert batch.inputs["input_ids"].shape[1] > without.inputs["input_ids"].shape[1]
    with torch.no_grad():
        changed = policy.evaluate(policy.module, batch).log_probs - plain.evaluate(plain.module, without).log_probs
    assert changed.abs().max() > 1e-5
