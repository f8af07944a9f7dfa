"""Qwen2.5-VL and Qwen3-VL, tiny and randomly initialised, on vLLM, against the learner's transformers."""

import re

import pytest
import torch

from benchmarks.tiny_families.qwen_vl import build_qwen3_vl, build_qwen_vl
from learner.config import LearnerConfig
from learner.samples import ActorSample
from learner.vlm_policy import VlmPolicy
from scenes.dialogues.general import General
from serving.actor import Actor
from serving.answers.form import AnswerForm
from tests.local_cluster import local_ray
from tests.tiny_families import images
from weights.lora_config import LoraConfig
from weights.manifest import pack
from weights.receipts import verify_receipts

pytestmark = pytest.mark.engines
FORM = AnswerForm(regex=r"Reflection: [a-z ]{1,12}\nEdit: [a-z ]{1,12}")
LORA = LoraConfig(rank=2, alpha=4.0, target_modules=r".*language_model\.layers\.\d+\.(self_attn|mlp)\.\w+_proj")
PICTURES, ASKED = images(2), "fix?"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {"qwen2.5": build_qwen_vl(root / "qwen2.5"), "qwen3": build_qwen3_vl(root / "qwen3")}


@pytest.fixture(scope="module")
def clients(folders):
    from serving.config import VlmConfig
    from serving.deployment import start_vlms, stop_vlms

    settings = {"max_model_len": 512, "adapter_rank": LORA.rank}
    with local_ray(2):
        yield start_vlms(
            {
                "qwen2.5": VlmConfig(model=str(folders["qwen2.5"]), max_tokens=8, **settings),
                "qwen3": VlmConfig(model=str(folders["qwen3"]), max_tokens=48, answer_form=FORM, **settings),
            }
        )
        stop_vlms(list(folders))


def largest_difference(policy, client):
    """Of the log-probabilities of sampled answers, between vLLM and the learner."""
    answers = Actor(client).reflect(PICTURES, [ASKED] * 2, n=2, temperature=1.0, seeds=[1, 2])
    samples = [
        ActorSample(image, ASKED, answer.token_ids, answer.log_probs, 0.0)
        for image, row in zip(PICTURES, answers, strict=True)
        for answer in row
    ]
    (batch,) = policy.batches(samples)
    with torch.no_grad():
        return policy.mismatch(batch, policy.evaluate(policy.module, batch).log_probs).max()


@pytest.mark.parametrize("name", ["qwen2.5", "qwen3"])
def test_vllms_log_probs_are_the_learners_without_and_with_an_adapter(folders, clients, name):
    client = clients[name]
    settings = LearnerConfig(micro_batch=8, lora=LORA)
    policy = VlmPolicy(folders[name], settings, answer_form=client.settings.answer_form)
    assert largest_difference(policy, client) < 1e-4
    if client.settings.answer_form is not None:  # each token was one of the few that the form allowed
        assert largest_difference(VlmPolicy(folders[name], settings), client) > 1
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in policy.weights.tensors().values():
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
    assert largest_difference(policy, client) > 0.1  # vLLM does not have it yet
    update = pack(name, 1, policy.weights.tensors(), adapter=policy.weights.spec())
    (receipt,) = client.apply_weights(update)
    verify_receipts(update.manifest, [receipt], client.versions())
    assert largest_difference(policy, client) < 1e-4


def test_answers_of_a_form_can_be_parsed_and_the_learner_knows_what_it_allowed(folders, clients):
    """A model with random weights never writes two labelled lines by itself."""
    client, dialogue = clients["qwen3"], General()
    (answers,) = Actor(client, dialogue).reflect(PICTURES[:1], [ASKED], n=8, temperature=1.5, seeds=[3])
    assert all(re.fullmatch(FORM.regex, answer.text) for answer in answers)
    assert all(answer.reflection is not None and answer.finished for answer in answers)
    (free,) = Actor(clients["qwen2.5"], dialogue).reflect(PICTURES[:1], [ASKED], n=8, temperature=1.5, seeds=[3])
    assert all(answer.reflection is None for answer in free)
