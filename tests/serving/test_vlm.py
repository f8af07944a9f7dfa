"""Serving with all real engines: requests, and weights that change while requests are asked."""

import base64
import io
import threading
from dataclasses import replace

import pytest
import torch
from PIL import Image

pytestmark = pytest.mark.engines

REQUEST = "goal : red circle left of blue square . unmet : red circle left of blue square . fix ?"


def update_of(folder, version):
    from safetensors.torch import load_file

    from learner.weights import pack

    return pack("actor", version, load_file(folder / "model.safetensors"), bucket_bytes=1 << 20)


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


def test_a_ray_actor_asks_without_loading_an_engine(vlms, references, images):
    import ray

    @ray.remote(num_cpus=0.1)
    class Runner:
        def ask(self, vlm, image, request):
            import sys

            from serving.vlm_actor import Actor

            return Actor(vlm).reflect([image], [request])[0][0].token_ids, {"vllm", "torch"} & sys.modules.keys()

    asked = Runner.remote().ask.remote(vlms["actor"], images[0], REQUEST)
    token_ids, engines = ray.get(asked, timeout=120)
    assert token_ids == references["actor"].greedy(images[0], REQUEST, 16)
    assert not engines


def test_damaged_or_foreign_weights_are_refused_and_the_old_ones_stay(vlms, folders, references, images):
    from learner.weights import WeightMismatch, pack
    from serving.vlm_actor import Actor

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
    from learner.weights import publish, verify_receipts
    from serving.vlm_actor import Actor

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
    for image, row in zip(
        images, actor.reflect(images, [REQUEST] * 4, n=4, temperature=1.0, seeds=[1, 2, 3, 4]), strict=True
    ):
        for answer in row:
            assert answer.version == start + 1
            references["other"].assert_log_probs(image, REQUEST, answer)
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
