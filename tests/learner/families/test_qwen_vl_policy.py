"""The Actor's learner with tiny, randomly initialised Qwen-VL models: images of several sizes, 3-D positions, LoRA."""

from dataclasses import replace

import numpy as np
import peft
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from benchmarks.tiny_families.qwen_vl import build_qwen3_vl, build_qwen_vl
from learner.config import LearnerConfig
from learner.ranks import Learner
from learner.samples import ActorSample
from learner.vlm_policy import VlmPolicy
from scenes.pictures.size import PictureSize
from tests.adapted import trained_a_little
from tests.learner.plain_update import RATE, PlainUpdates, assert_same_step, weights
from tests.tiny_families import images
from weights.lora_config import LoraConfig

LORA = LoraConfig(rank=2, alpha=4.0, target_modules=("q_proj", "v_proj", "down_proj", "qkv"))
ASKED = ["unmet: red circle left of blue square. fix?", "fix?"]


@pytest.fixture(scope="module", params=[build_qwen_vl, build_qwen3_vl], ids=["qwen2.5", "qwen3"])
def folder(request, tmp_path_factory):
    return request.param(tmp_path_factory.mktemp("models") / "qwen")


@pytest.fixture(scope="module")
def own(folder):
    """transformers' own model and the processor."""
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    return model, AutoProcessor.from_pretrained(folder)


def asked(processor, image: np.ndarray, prompt: str):
    content = [{"type": "image"}, {"type": "text", "text": prompt}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    return processor(text=[text], images=[[Image.fromarray(image)]], add_special_tokens=False, return_tensors="pt")


@pytest.fixture(scope="module")
def samples(own) -> list[ActorSample]:
    """Four answers of different lengths to images of two sizes, sampled by transformers' own `generate`."""
    model, processor = own
    found = []
    for index in range(4):
        image, prompt = images(4, PictureSize.of(64 if index % 2 else 112))[index], ASKED[index // 2]
        inputs = asked(processor, image, prompt)
        torch.manual_seed(index)
        answer = model.generate(
            **inputs,
            do_sample=True,
            top_k=0,
            max_new_tokens=4 + 2 * index,
            bad_words_ids=[[model.config.image_token_id], [model.config.video_token_id]],
            return_dict_in_generate=True,
            output_logits=True,
        )
        ids = answer.sequences[0, inputs["input_ids"].shape[1] :].tolist()
        logits = torch.cat(answer.logits).double()
        logits[:, model.config.image_token_id] = -torch.inf  # it is never sampled
        logits = logits.log_softmax(-1)
        log_probs = [logits[position, token].item() for position, token in enumerate(ids)]
        found.append(ActorSample(image, prompt, ids, log_probs, advantage=index - 1.5))
    return found


@pytest.fixture(scope="module")
def policy(folder) -> VlmPolicy:
    return VlmPolicy(folder, LearnerConfig(micro_batch=8))


def evaluate(policy, samples) -> tuple:
    (batch,) = policy.batches(samples)
    with torch.no_grad():
        return batch, policy.evaluate(policy.module, batch).log_probs


def test_log_probs_equal_those_of_transformers_own_sampling_and_forward(policy, own, samples):
    batch, log_probs = evaluate(policy, samples)
    wide = 112 // 2 // policy.processor.image_processor.patch_size * 2  # patches a side of the larger images
    assert batch.images["image_grid_thw"].tolist() == [[1, wide, wide], [1, 4, 4]] * 2
    assert batch.count == sum(len(sample.token_ids) for sample in samples)
    assert policy.mismatch(batch, log_probs).max() < 1e-4
    model, processor = own
    for row, sample in enumerate(samples):
        inputs = asked(processor, sample.image, sample.prompt)
        length, answer = inputs["input_ids"].shape[1], torch.tensor([sample.token_ids])
        inputs["input_ids"] = torch.cat([inputs["input_ids"], answer], 1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(answer)], 1)
        with torch.no_grad():
            logits = model(**inputs).logits[0, length - 1 : -1]
            logits[:, model.config.image_token_id] = -torch.inf
            logits = logits.log_softmax(-1)
        expected = logits.gather(1, answer.T)[:, 0]
        torch.testing.assert_close(log_probs[row, : len(expected)], expected, atol=1e-5, rtol=0)


def test_image_tokens_are_numbered_by_row_and_column(policy, samples):
    """Without the types of the tokens, transformers numbers them like text, and other log-probabilities come out."""
    (batch,) = policy.batches(samples)
    _, log_probs = evaluate(policy, samples)
    flat = replace(batch, inputs={k: v for k, v in batch.inputs.items() if k in ("input_ids", "attention_mask")})
    with torch.no_grad():
        assert (policy.evaluate(policy.module, flat).log_probs - log_probs).abs().max() > 1e-3


@pytest.mark.parametrize("lora", [None, LORA], ids=["whole", "lora"])
def test_layers_that_are_computed_again_give_the_same_gradients(folder, samples, lora):
    def gradients(again: bool) -> tuple[torch.Tensor, int]:
        policy = VlmPolicy(folder, LearnerConfig(micro_batch=8, lora=lora, gradient_checkpointing=again))
        calls = []
        policy.module.model.language_model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
        (batch,) = policy.batches(samples)
        policy.evaluate(policy.module, batch).log_probs[batch.mask].sum().backward()
        return torch.cat([p.grad.flatten() for p in policy.module.parameters() if p.grad is not None]), len(calls)

    (kept, once), (again, twice) = gradients(False), gradients(True)
    assert kept.any()
    assert (once, twice) == (1, 2)
    torch.testing.assert_close(again, kept, atol=1e-6, rtol=1e-4)


def test_answers_to_one_prompt_share_its_encoding(policy, samples):
    first, second = samples[:2]
    members = [replace(sample, image=first.image.copy(), prompt=first.prompt) for sample in samples[:3]]
    batch, together = evaluate(policy, [members[0], second, members[1], members[2]])
    assert batch.prompts == [0, 1, 0, 0]
    assert len(batch.images["image_grid_thw"]) == 2
    for row, sample in zip((0, 2, 3), members, strict=True):
        _, alone = evaluate(policy, [sample])
        torch.testing.assert_close(alone[0], together[row, : len(sample.token_ids)], atol=1e-5, rtol=0)


def test_peft_and_transformers_load_what_is_exported_and_compute_the_same(folder, samples, tmp_path):
    policy = VlmPolicy(folder, LearnerConfig(lora=LORA, micro_batch=8))
    before = {name: tensor.clone() for name, tensor in policy.module.state_dict().items()}
    trained_a_little(policy, samples)
    moved = {name for name, tensor in policy.module.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {name for name in before if "lora_" in name}
    _, expected = evaluate(policy, samples)
    policy.export(tmp_path / "actor")

    base = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    adapted = peft.PeftModel.from_pretrained(base, tmp_path / "actor" / "lora").eval()
    (batch,) = policy.batches(samples)
    with torch.no_grad():
        torch.testing.assert_close(policy.evaluate(adapted, batch).log_probs, expected, atol=1e-6, rtol=0)
    merged = VlmPolicy(tmp_path / "actor", LearnerConfig(micro_batch=8))
    assert type(merged.processor) is type(policy.processor)
    torch.testing.assert_close(evaluate(merged, samples)[1], expected, atol=1e-4, rtol=0)
    assert load_file(tmp_path / "actor" / "model.safetensors").keys() == load_file(folder / "model.safetensors").keys()


def test_a_lora_that_binds_to_nothing_is_refused_by_name(folder):
    with pytest.raises(ValueError, match=r"Qwen\w*VL.*'to_q' binds to zero modules.*q_proj"):
        VlmPolicy(folder, LearnerConfig(lora={"target_modules": ["to_q"]}))


@pytest.mark.engines
@pytest.mark.parametrize("stage", [pytest.param(2, marks=pytest.mark.long), 3])
def test_an_update_with_zero_is_the_plain_one_and_is_exported(cluster, folder, samples, stage, tmp_path):
    ranks = {"learning_rate": RATE, "micro_batch": 2, "ranks": 2, "cpus_per_rank": 0.5, "zero_stage": stage}
    plain = PlainUpdates(VlmPolicy(folder, LearnerConfig(lora=LORA)))
    with Learner("actor", folder, LearnerConfig(lora=LORA, start_deadline_s=600.0, **ranks)) as learner:
        stats = learner.update(samples)
        assert stats.logprob_mismatch_max < 1e-4
        assert_same_step(learner, stats, plain.update(samples))
        update = learner.weights(1)
        assert (update.kind, update.manifest.adapter) == ("lora", plain.policy.weights.spec())
        held = weights(learner)
        learner.export(tmp_path / "actor")
    base = AutoModelForImageTextToText.from_pretrained(folder)
    loaded = peft.PeftModel.from_pretrained(base, tmp_path / "actor" / "lora")
    exported = peft.get_peft_model_state_dict(loaded, save_embedding_layers=False)
    assert all(torch.equal(exported[f"base_model.model.{name}"], tensor) for name, tensor in held.items())
