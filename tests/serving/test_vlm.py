"""The Actor and the Checker with all real engines: Ray Serve, vLLM, and transformers as the reference."""

import base64
import io
import threading
from dataclasses import replace
from math import exp

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

pytestmark = pytest.mark.engines

TOLERANCE = 1e-3  # of a token's log-probability, float32 on both sides
REQUEST = "goal : red circle left of blue square . unmet : red circle left of blue square . fix ?"


class Reference:
    """What plain transformers computes from a model folder."""

    def __init__(self, folder):
        from transformers import AutoProcessor, Idefics3ForConditionalGeneration

        self.model = Idefics3ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        self.processor = AutoProcessor.from_pretrained(folder)

    def _inputs(self, image, text):
        content = [{"type": "image"}, {"type": "text", "text": text}]
        prompt = self.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        return self.processor(text=prompt, images=[Image.fromarray(image)], return_tensors="pt")

    @torch.no_grad()
    def log_probs(self, image, text, token_ids):
        """Log-probabilities (len(token_ids), vocabulary) at each answer token."""
        inputs = self._inputs(image, text)
        length = inputs.input_ids.shape[1]
        inputs["input_ids"] = torch.cat([inputs.input_ids, torch.tensor([token_ids])], 1)
        inputs["attention_mask"] = torch.ones_like(inputs.input_ids)
        return self.model(**inputs).logits[0, length - 1 : -1].log_softmax(-1)

    @torch.no_grad()
    def greedy(self, image, text, max_tokens):
        inputs = self._inputs(image, text)
        ids = self.model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False)
        return ids[0, inputs.input_ids.shape[1] :].tolist()


def widened(folder, out):
    """The model of `folder` with weights so large that answers differ between images and end at different lengths."""
    from safetensors.torch import load_file

    tensors = load_file(folder / "model.safetensors")
    tensors = {name: tensor * 3 if tensor.ndim == 2 else tensor for name, tensor in tensors.items()}
    return write_like(folder, out, tensors)


def decided(folder, out):
    """The model of `folder` with opposite, long output rows for yes and no: mostly one of them is the likeliest."""
    from safetensors.torch import load_file
    from transformers import AutoTokenizer

    tensors = load_file(folder / "model.safetensors")
    yes, no = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(["yes", "no"])
    row = torch.randn(tensors["lm_head.weight"].shape[1], generator=torch.Generator().manual_seed(7)) * 0.04
    tensors["lm_head.weight"][yes], tensors["lm_head.weight"][no] = row, -row
    return write_like(folder, out, tensors)


def write_like(folder, out, tensors):
    import shutil

    from safetensors.torch import save_file

    shutil.copytree(folder, out)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    return out


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    from learner.pretraining.vlm_model import build

    root = tmp_path_factory.mktemp("vlm")
    raw = [build(root / f"raw{seed}", seed=seed) for seed in range(3)]
    return {
        "actor": widened(raw[0], root / "actor"),
        "other": widened(raw[1], root / "other"),
        "checker": decided(widened(raw[2], root / "wide"), root / "checker"),
    }


@pytest.fixture(scope="module")
def references(folders):
    torch.set_num_threads(1)
    return {name: Reference(folder) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def vlms(folders):
    import ray

    from serving.vlm_client import start_vlms, stop_vlms
    from serving.vlm_config import VlmConfig

    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=200 << 20, log_to_driver=False)
    try:
        before = set(psutil.pids())
        yield start_vlms(
            {
                "actor": VlmConfig(model=str(folders["actor"]), max_tokens=16),
                "checker": VlmConfig(model=str(folders["checker"])),
            }
        )
        engines = [p for p in psutil.process_iter() if p.pid not in before and "EngineCore" in " ".join(p.cmdline())]
        assert len(engines) >= 2
        stop_vlms(["actor", "checker"])
        _, alive = psutil.wait_procs(engines, timeout=20)
        assert not alive
    finally:
        ray.shutdown()


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (4, 8, 8, 3), dtype=np.uint8)
    return list(coarse.repeat(8, axis=1).repeat(8, axis=2))


def update_of(folder, version):
    from safetensors.torch import load_file

    from learner.weights import pack

    return pack("actor", version, load_file(folder / "model.safetensors"), bucket_bytes=1 << 20)


def assert_log_probs(reference, image, text, answer):
    expected = reference.log_probs(image, text, answer.token_ids)
    expected = expected.gather(1, torch.tensor(answer.token_ids)[:, None])[:, 0]
    np.testing.assert_allclose(answer.log_probs, expected, atol=TOLERANCE, rtol=0)


def test_sampled_log_probs_equal_those_of_transformers(vlms, references, images):
    from serving.vlm_actor import Actor

    answers = Actor(vlms["actor"]).reflect(images, [REQUEST] * 4, n=4, temperature=1.0, seeds=[1, 2, 3, 4])
    assert [len(row) for row in answers] == [4] * 4
    assert len({tuple(answer.token_ids) for row in answers for answer in row}) == 16
    for image, row in zip(images, answers, strict=True):
        for answer in row:
            assert answer.version == 0
            assert_log_probs(references["actor"], image, REQUEST, answer)


def test_an_answer_keeps_its_end_token(vlms, references, images):
    from serving.vlm_actor import Actor

    answers = Actor(vlms["actor"]).reflect(images, [REQUEST] * 4, n=64, temperature=2.0, seeds=[1, 2, 3, 4])
    end = references["actor"].processor.tokenizer.eos_token_id
    ended = [answer for row in answers for answer in row if end in answer.token_ids]
    assert ended
    for answer in ended:
        assert answer.token_ids.index(end) == len(answer.token_ids) - 1
        assert "end_of_utterance" not in answer.text
    for image, row in zip(images, answers, strict=True):
        for answer in row[:2]:  # also at temperature 2, log-probabilities are those of temperature 1
            assert_log_probs(references["actor"], image, REQUEST, answer)


def test_greedy_answers_equal_those_of_transformers(vlms, references, images):
    from serving.vlm_actor import Actor

    for image, (answer,) in zip(images, Actor(vlms["actor"]).reflect(images, [REQUEST] * 4), strict=True):
        assert answer.token_ids == references["actor"].greedy(image, REQUEST, 16)
        assert answer.text == references["actor"].processor.tokenizer.decode(answer.token_ids, skip_special_tokens=True)


def test_a_seed_decides_the_answer_whatever_else_is_asked(vlms, images):
    from serving.vlm_actor import Actor

    actor = Actor(vlms["actor"])
    together = actor.reflect(images, [REQUEST] * 4, n=3, temperature=1.0, seeds=[5, 6, 7, 8])
    alone = actor.reflect(images[2:3], [REQUEST], n=3, temperature=1.0, seeds=[7])
    assert [answer.token_ids for answer in alone[0]] == [answer.token_ids for answer in together[2]]
    neighbour = actor.reflect(images[2:3], [REQUEST], n=3, temperature=1.0, seeds=[8])
    assert not {tuple(a.token_ids) for a in neighbour[0]} & {tuple(a.token_ids) for a in alone[0]}


def test_an_unparsable_answer_has_no_reflection(vlms, images):
    from serving.vlm_actor import Actor

    assert all(row[0].reflection is None for row in Actor(vlms["actor"]).reflect(images, [REQUEST] * 4))


def test_impossible_requests_are_refused(vlms, images):
    from serving.vlm_actor import Actor
    from serving.vlm_checker import Checker

    with pytest.raises(ValueError, match="4 images, 1 requests, no seeds"):
        Actor(vlms["actor"]).reflect(images, [REQUEST])
    with pytest.raises(ValueError, match="n is 2 at temperature 0"):
        Actor(vlms["actor"]).reflect(images[:1], [REQUEST], n=2)
    with pytest.raises(ValueError, match="4 images and 0 lists of requirements"):
        Checker(vlms["checker"]).satisfaction(images, [])


def test_an_image_of_another_size_is_answered(vlms):
    from serving.vlm_actor import Actor

    image = np.zeros((80, 96, 3), dtype=np.uint8)
    assert Actor(vlms["actor"]).reflect([image], [REQUEST])[0][0].token_ids


def test_satisfaction_is_the_yes_share_of_transformers(vlms, references, images):
    from scenes.dialogue import checker_question
    from scenes.scene_graph import Requirement
    from serving.vlm_checker import Checker

    asked = [Requirement(a, "left of", b) for a in ("red circle", "green star") for b in ("blue square", "red star")]
    wanted = [tuple(asked), tuple(asked[:1]), (), tuple(asked[1:])]
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
            if log_probs.argmax() not in (yes, no):
                unanswered += 1
                expected = 0.0
            assert probability == pytest.approx(expected, abs=TOLERANCE)
    assert checker.unanswered == unanswered
    assert any(probability > 0 for row in satisfied for probability in row)


def test_a_chat_request_gives_the_same_answer(vlms, references, images):
    from ray.serve.llm.openai_api_models import ChatCompletionRequest

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


def test_damaged_or_foreign_weights_are_refused_and_the_old_ones_stay(vlms, folders, references, images):
    from learner.weights import WeightMismatch, pack
    from serving.vlm_actor import Actor

    update = update_of(folders["other"], 1)
    bucket = update.buckets[0].copy()
    bucket[5] ^= 1
    with pytest.raises(WeightMismatch, match="has checksum"):
        vlms["actor"].apply_weights(replace(update, buckets=[bucket, *update.buckets[1:]]))
    with pytest.raises(WeightMismatch, match="the model has no tensor 'surprise'"):
        vlms["actor"].apply_weights(pack("actor", 1, {"surprise": torch.ones(2)}))
    vlms["actor"].check_health()
    assert set(vlms["actor"].versions().values()) == {0}
    (answer,) = Actor(vlms["actor"]).reflect(images[:1], [REQUEST])[0]
    assert answer.token_ids == references["actor"].greedy(images[0], REQUEST, 16)


def test_new_weights_answer_like_a_fresh_load_and_are_proven(vlms, folders, references, images):
    from learner.weights import publish, verify_receipts
    from serving.vlm_actor import Actor

    actor = Actor(vlms["actor"])
    before = actor.reflect(images, [REQUEST] * 4)
    first, second = update_of(folders["other"], 1), update_of(folders["actor"], 2)
    assert len(first.buckets) > 1

    receipts = vlms["actor"].apply_weights(publish(first))
    verify_receipts(first.manifest, receipts, vlms["actor"].versions())
    assert receipts[0].digest == first.manifest.digest
    assert receipts[0].previous_digest == second.manifest.digest  # the folder that the replica started from
    assert (receipts[0].version, receipts[0].previous_version) == (1, 0)
    for image, row in zip(
        images, actor.reflect(images, [REQUEST] * 4, n=4, temperature=1.0, seeds=[1, 2, 3, 4]), strict=True
    ):
        for answer in row:
            assert answer.version == 1
            assert_log_probs(references["other"], image, REQUEST, answer)
    for image, (answer,) in zip(images, actor.reflect(images, [REQUEST] * 4), strict=True):
        assert answer.token_ids == references["other"].greedy(image, REQUEST, 16)

    verify_receipts(second.manifest, vlms["actor"].apply_weights(second))
    after = actor.reflect(images, [REQUEST] * 4)
    assert [row[0].log_probs for row in after] == [row[0].log_probs for row in before]


def test_no_batch_sees_two_versions(vlms, folders, references, images):
    from serving.vlm_actor import Actor

    actor = Actor(vlms["actor"])
    expected = [references["actor"].greedy(images[0], REQUEST, 16), references["other"].greedy(images[0], REQUEST, 16)]
    seen, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            seen.append([row[0] for row in actor.reflect([images[0]] * 8, [REQUEST] * 8)])

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for asker in askers:
        asker.start()
    versions = range(3, 9)
    for version in versions:
        vlms["actor"].apply_weights(update_of(folders["other" if version % 2 else "actor"], version))
    stop.set()
    for asker in askers:
        asker.join(timeout=60)
        assert not asker.is_alive()
    for batch in seen:
        (version,) = {answer.version for answer in batch}
        assert all(answer.token_ids == expected[version % 2] for answer in batch)
    assert len({batch[0].version for batch in seen}) > 2
