"""The Actor, the Checker and changing weights with all real engines, in one module because they share one start."""

import base64
import io
import threading
import time
from dataclasses import replace
from math import exp

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from measuring.vlm_trial import pictures, try_vlms
from scenes.dialogue import checker_question
from serving.actor import Actor
from serving.checker import LEAST_MASS, Checker
from tests.serving.local.alike import WANTED, assert_check_alike, assert_reflect_alike, local
from weights.manifest import WeightMismatch, pack, publish
from weights.receipts import verify_receipts

pytestmark = pytest.mark.engines

REQUEST = "goal : red circle left of blue square . unmet : red circle left of blue square . fix ?"


def update_of(folder, version):
    return pack("actor", version, load_file(folder / "model.safetensors"), bucket_bytes=1 << 20)


def test_sampled_log_probs_equal_those_of_transformers(vlms, references, images):
    answers = Actor(vlms["actor"]).reflect(images, [REQUEST] * 4, n=4, temperature=1.0, seeds=[1, 2, 3, 4])
    assert [len(row) for row in answers] == [4] * 4
    assert len({tuple(answer.token_ids) for row in answers for answer in row}) == 16
    for image, row in zip(images, answers, strict=True):
        for answer in row:
            assert answer.version in vlms["actor"].versions().values()
            references["actor"].assert_log_probs(image, REQUEST, answer)


def test_an_answer_keeps_its_end_token(vlms, references, images):
    answers = Actor(vlms["actor"]).reflect(images, [REQUEST] * 4, n=64, temperature=2.0, seeds=[1, 2, 3, 4])
    end = references["actor"].processor.tokenizer.eos_token_id
    ended = [answer for row in answers for answer in row if end in answer.token_ids]
    assert ended
    for answer in ended:
        assert answer.token_ids.index(end) == len(answer.token_ids) - 1
        assert "end_of_utterance" not in answer.text
    for image, row in zip(images, answers, strict=True):
        for answer in row[:2]:
            references["actor"].assert_log_probs(image, REQUEST, answer, temperature=2.0)


@pytest.mark.parametrize("temperature", [0.5, 1.2, 1.5])
def test_at_every_temperature_the_importance_weight_of_equal_weights_is_one(vlms, folders, images, temperature):
    from learner.config import LearnerConfig
    from learner.samples import ActorSample
    from learner.vlm_policy import VlmPolicy

    policy = VlmPolicy(folders["actor"], LearnerConfig(temperature=temperature, micro_batch=16))
    rows = Actor(vlms["actor"]).reflect(images, [REQUEST] * 4, n=4, temperature=temperature, seeds=[1, 2, 3, 4])
    samples = [
        ActorSample(image, REQUEST, answer.token_ids, answer.log_probs, advantage=1.0)
        for image, row in zip(images, rows, strict=True)
        for answer in row
    ]
    (batch,) = policy.batches(samples)
    with torch.no_grad():
        learned = policy.evaluate(policy.module, batch).log_probs
    weights = (learned - batch.rollout_log_probs)[batch.mask].exp()
    assert len(weights) > 50
    assert (weights - 1).abs().max() < 1e-3


def test_greedy_answers_equal_those_of_transformers(vlms, references, images):
    for image, (answer,) in zip(images, Actor(vlms["actor"]).reflect(images, [REQUEST] * 4), strict=True):
        assert answer.token_ids == references["actor"].greedy(image, REQUEST, 16)
        assert answer.reflection is None  # these weights are random
        assert answer.text == references["actor"].processor.tokenizer.decode(answer.token_ids, skip_special_tokens=True)


def test_a_seed_decides_the_answer_whatever_else_is_asked(vlms, images):
    actor = Actor(vlms["actor"])
    together = actor.reflect(images, [REQUEST] * 4, n=3, temperature=1.0, seeds=[5, 6, 7, 8])
    alone = actor.reflect(images[2:3], [REQUEST], n=3, temperature=1.0, seeds=[7])
    assert [answer.token_ids for answer in alone[0]] == [answer.token_ids for answer in together[2]]
    neighbour = actor.reflect(images[2:3], [REQUEST], n=3, temperature=1.0, seeds=[8])
    assert not {tuple(a.token_ids) for a in neighbour[0]} & {tuple(a.token_ids) for a in alone[0]}


def test_a_model_in_this_process_answers_like_vllm(vlms, images):
    assert_reflect_alike(vlms["actor"], local(vlms["actor"]), images, REQUEST)
    assert_check_alike(vlms["checker"], local(vlms["checker"]), images)


def test_impossible_requests_are_refused(vlms, images):
    with pytest.raises(ValueError, match="4 images, 1 requests, no seeds"):
        Actor(vlms["actor"]).reflect(images, [REQUEST])
    with pytest.raises(ValueError, match="n is 2 at temperature 0"):
        Actor(vlms["actor"]).reflect(images[:1], [REQUEST], n=2)


def test_an_image_of_another_size_is_answered(vlms):
    image = np.zeros((80, 96, 3), dtype=np.uint8)
    assert Actor(vlms["actor"]).reflect([image], [REQUEST])[0][0].token_ids


def test_satisfaction_is_the_yes_share_of_transformers(vlms, references, images):
    wanted = [WANTED, WANTED[:1], (), WANTED[1:]]
    checker = Checker(vlms["checker"])
    satisfied = checker.satisfaction(images, wanted)
    reference = references["checker"]
    yes, no = reference.processor.tokenizer.convert_tokens_to_ids(["yes", "no"])
    unanswered = 0
    for image, requirements, row in zip(images, wanted, satisfied, strict=True):
        assert len(row) == len(requirements)
        for requirement, probability in zip(requirements, row, strict=True):
            log_probs = reference.log_probs(image, checker_question(requirement), [yes])[0]
            expected = exp(log_probs[yes]) / (exp(log_probs[yes]) + exp(log_probs[no]))
            if exp(log_probs[yes]) + exp(log_probs[no]) < LEAST_MASS:
                unanswered += 1
                expected = 0.0
            assert probability == pytest.approx(expected, abs=1e-3)
    assert checker.unanswered == unanswered
    assert any(probability > 0 for row in satisfied for probability in row)


def test_a_trial_of_the_vlms_counts_what_can_be_read(vlms):
    report = try_vlms(Actor(vlms["actor"]), Checker(vlms["checker"]), pictures(3), 1.0)
    assert report.parsed == 0  # these weights are random
    assert all("is not of the form" in trial.unread and trial.tokens > 0 for trial in report.trials)
    assert all(0 <= one.p_yes <= 1 for trial in report.trials for one in trial.checks)
    assert min(report.seconds.values()) > 0


def test_each_image_needs_its_list_of_requirements_which_may_be_empty(vlms, images):
    with pytest.raises(ValueError, match="4 images and 0 lists of requirements"):
        Checker(vlms["checker"]).satisfaction(images, [])
    assert Checker(vlms["checker"]).satisfaction(images[:2], [(), ()]) == [[], []]


def test_a_chat_request_gives_the_same_answer(vlms, references, images):
    from ray.serve.llm.openai_api_models import ChatCompletionRequest  # it loads vLLM, collecting tests should not

    png = io.BytesIO()
    Image.fromarray(images[0]).save(png, "PNG")
    url = "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": REQUEST}]
    request = ChatCompletionRequest(
        model="actor",
        messages=[{"role": "user", "content": content}],
        temperature=0,
        max_tokens=8,
        return_token_ids=True,
    )
    (response,) = list(vlms["actor"]._handle.options(stream=True).chat.remote(request))
    assert response.choices[0].token_ids == references["actor"].greedy(images[0], REQUEST, 8)


def test_a_ray_actor_asks_without_loading_an_engine(vlms, references, images):
    import ray

    new_interpreter = {"env_vars": {"OMP_NUM_THREADS": "2"}}  # a forked worker has what the fork server imported

    @ray.remote(num_cpus=0.1, runtime_env=new_interpreter)
    class Runner:
        def ask(self, vlm, image, request):
            import sys

            from serving.actor import Actor

            return Actor(vlm).reflect([image], [request])[0][0].token_ids, {"vllm", "torch"} & sys.modules.keys()

    asked = Runner.remote().ask.remote(vlms["actor"], images[0], REQUEST)
    token_ids, engines = ray.get(asked, timeout=120)
    assert token_ids == references["actor"].greedy(images[0], REQUEST, 16)
    assert not engines


def test_damaged_or_foreign_weights_are_refused_and_the_old_ones_stay(vlms, folders, references, images):
    versions = vlms["actor"].versions()
    update = update_of(folders["other"], 1)
    bucket = update.buckets[0].copy()
    bucket[5] ^= 1
    with pytest.raises(WeightMismatch, match="has checksum"):
        vlms["actor"].apply_weights(replace(update, buckets=[bucket, *update.buckets[1:]]))
    with pytest.raises(WeightMismatch, match="the model has no tensor 'surprise'"):
        vlms["actor"].apply_weights(pack("actor", 1, {"surprise": torch.ones(2)}))
    vlms["actor"].check_health()
    assert vlms["actor"].versions() == versions
    (answer,) = Actor(vlms["actor"]).reflect(images[:1], [REQUEST])[0]
    assert answer.token_ids == references["actor"].greedy(images[0], REQUEST, 16)


def test_new_weights_answer_like_a_fresh_load_and_are_proven(vlms, folders, references, images):
    actor = Actor(vlms["actor"])
    before = actor.reflect(images, [REQUEST] * 4)
    (start,) = vlms["actor"].versions().values()
    first, second = update_of(folders["other"], start + 1), update_of(folders["actor"], start + 2)
    assert len(first.buckets) > 1

    receipts = vlms["actor"].apply_weights(publish(first))
    verify_receipts(first.manifest, receipts, vlms["actor"].versions())
    assert receipts[0].digest == first.manifest.digest
    assert receipts[0].previous_digest == second.manifest.digest  # at first from the folder
    assert (receipts[0].version, receipts[0].previous_version) == (start + 1, start)
    assert receipts[0].probe != receipts[0].previous_probe
    for image, row in zip(
        images, actor.reflect(images, [REQUEST] * 4, n=4, temperature=1.0, seeds=[1, 2, 3, 4]), strict=True
    ):
        for answer in row:
            assert answer.version == start + 1
            references["other"].assert_log_probs(image, REQUEST, answer)
    for image, (answer,) in zip(images, actor.reflect(images, [REQUEST] * 4), strict=True):
        assert answer.token_ids == references["other"].greedy(image, REQUEST, 16)

    back = vlms["actor"].apply_weights(second)
    verify_receipts(second.manifest, back)
    assert (back[0].probe, back[0].previous_probe) == (receipts[0].previous_probe, receipts[0].probe)
    after = actor.reflect(images, [REQUEST] * 4)
    assert [row[0].log_probs for row in after] == [row[0].log_probs for row in before]


def test_no_batch_sees_two_versions(vlms, folders, references, images):
    actor = Actor(vlms["actor"])
    expected = [references["actor"].greedy(images[0], REQUEST, 16), references["other"].greedy(images[0], REQUEST, 16)]
    seen, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            seen.append([row[0] for row in actor.reflect([images[0]] * 8, [REQUEST] * 8)])

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for asker in askers:
        asker.start()
    (start,) = vlms["actor"].versions().values()
    for version in range(start + 1, start + 7):
        vlms["actor"].apply_weights(update_of(folders["other" if (version - start) % 2 else "actor"], version))
    stop.set()
    for asker in askers:
        asker.join(timeout=60)
        assert not asker.is_alive()
    for batch in seen:
        (version,) = {answer.version for answer in batch}
        assert all(answer.token_ids == expected[(version - start) % 2] for answer in batch)
    assert len({batch[0].version for batch in seen}) > 2


def test_pushed_weights_answer_like_a_fresh_load_and_are_proven(vlms, folders, references, images):
    from tests.serving.receiving.message_sender import MessageSender
    from weights.transports.vllm_transfer import VllmTransfer

    (address,) = vlms["actor"].addresses()
    (start,) = vlms["actor"].versions().values()
    assert (address.replica, address.gpus) == (*vlms["actor"].versions(), ())
    transfer = VllmTransfer(vlms["actor"], "nccl", 0.0, MessageSender)
    transfer.start()
    for version, folder in ((start + 1, "other"), (start + 2, "actor")):
        update = publish(update_of(folders[folder], version))
        receipts = transfer.deliver(update)
        verify_receipts(update.manifest, receipts, vlms["actor"].versions())
        assert receipts[0].previous_version == version - 1
        for image, (answer,) in zip(images, Actor(vlms["actor"]).reflect(images, [REQUEST] * 4), strict=True):
            assert answer.version == version
            assert answer.token_ids == references[folder].greedy(image, REQUEST, 16)
    transfer.close()


@pytest.mark.long
def test_pushed_weights_that_do_not_fit_are_refused_and_the_next_ones_taken(vlms, folders, images):
    from tests.serving.receiving.message_sender import MessageSender
    from weights.transports.vllm_transfer import VllmTransfer

    (start,) = vlms["actor"].versions().values()
    transfer = VllmTransfer(vlms["actor"], "nccl", 0.0, MessageSender)
    with pytest.raises(WeightMismatch, match=r"replica .* of the actor, .* the model has no tensor 'surprise'"):
        transfer.deliver(publish(pack("actor", start + 1, {"surprise": torch.ones(2)})))
    assert set(vlms["actor"].versions().values()) == {start}
    update = publish(update_of(folders["other"], start + 1))
    verify_receipts(update.manifest, transfer.deliver(update), vlms["actor"].versions())
    transfer.close()


def test_a_sender_that_dies_does_not_hold_up_its_replicas_which_fetch_the_weights(vlms, folders, references, images):
    from tests.serving.receiving.message_sender import DyingSender
    from weights.transports.vllm_transfer import VllmTransfer

    replicas, (start,) = list(vlms["actor"].versions()), vlms["actor"].versions().values()
    transfer, began = VllmTransfer(vlms["actor"], "nccl", 0.0, DyingSender), time.monotonic()
    (served,) = Actor(vlms["actor"]).reflect(images[:1], [REQUEST])[0]
    new = "other" if served.token_ids == references["actor"].greedy(images[0], REQUEST, 16) else "actor"
    update = publish(update_of(folders[new], start + 1))
    verify_receipts(update.manifest, transfer.deliver(update), replicas)
    assert time.monotonic() - began < vlms["actor"].settings.call_deadline_s / 2
    assert vlms["actor"].versions() == dict.fromkeys(replicas, start + 1)  # none had to be replaced
    (answer,) = Actor(vlms["actor"]).reflect(images[:1], [REQUEST])[0]
    assert answer.token_ids == references[new].greedy(images[0], REQUEST, 16)
    transfer.close()
