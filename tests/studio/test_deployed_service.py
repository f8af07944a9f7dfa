"""The endpoint over all real engines: the small preset on Ray Serve, asked by the official client."""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import ray
import torch
from openai import OpenAI
from safetensors.torch import load_file

from presets.run_file import load_config
from rollout.local_ray import ray_for_run
from scenes.png import decode_png, encode_png
from studio.config import GatewayConfig
from studio.exposure import early_port
from tests.places import TINY
from weights.manifest import WeightMismatch, WeightUpdate, pack

pytestmark = pytest.mark.engines


TOKEN = "a-token-of-enough-characters"
PROMPTS = ("red circle left of blue square; green star above red circle", "yellow square below purple triangle")
TURN_S = 120.0


class Early:
    """Asks a port again and again from the moment that it listens, until it is told to stop."""

    def __init__(self, port: int) -> None:
        self._url, self._stop = f"http://127.0.0.1:{port}", threading.Event()
        self.pages: list[httpx.Response] = []
        self.ready: list[httpx.Response] = []
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        while not self._stop.is_set():
            for path, answers in (("/studio", self.pages), ("/readyz", self.ready)):
                answers.append(httpx.get(self._url + path, trust_env=False, timeout=60))
            time.sleep(0.1)

    def end(self) -> None:
        self._stop.set()
        self._thread.join(120)
        assert not self._thread.is_alive(), "an answer did not come"


@pytest.fixture(scope="module")
def started() -> Iterator[tuple[Any, Early]]:
    config = load_config(TINY / "run.yaml", ["ray.object_store_gib=0.3"])
    raw = load_config(TINY / "run.yaml", ["editor.workers=1"])
    gateway = GatewayConfig(port=0, max_requests_per_client=32, turn_deadline_s=TURN_S, max_turns=3)
    with early_port(gateway) as port, ray_for_run(config.ray):
        early = Early(port.port)
        from studio.deployed_service import DeployedService

        versions = {"actor": 0, "editor": 7}
        deployed = DeployedService(config, gateway, raw=raw, token=TOKEN, versions=versions, early=port)
        early.end()
        yield deployed, early
        deployed.close()


@pytest.fixture(scope="module")
def service(started: tuple[Any, Early]) -> Any:
    return started[0]


@pytest.fixture
def client(service: Any) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{service.url}/v1", api_key=TOKEN, max_retries=0, timeout=300) as client:
        yield client


def pixels(b64: str) -> np.ndarray:
    return decode_png(base64.b64decode(b64)).astype(int)


def ask(client: OpenAI, seed: int, model: str = "rlrig", **options: Any) -> Any:
    """The one image of a request, with its trace."""
    extra = {"seed": seed, "turns": 2, "trace_images": True}
    answer = client.images.generate(model=model, prompt=PROMPTS[seed % 2], extra_body=extra, **options)
    (image,) = answer.data
    return image


def changed(policy: str, version: int, factor: float) -> WeightUpdate:
    """Weights of a policy that differ a little from those on disk."""
    folder = TINY / "models" / "actor" if policy == "actor" else TINY / "models" / "flux" / "transformer"
    tensors: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(file)
    return pack(policy, version, {name: t * factor if t.ndim == 2 else t for name, t in tensors.items()})


def replicas_of(application: str) -> list[str]:
    names = [one["name"] for one in ray.util.list_named_actors(all_namespaces=True) if one["namespace"] == "serve"]
    return sorted(name for name in names if name.startswith(f"SERVE_REPLICA::{application}#"))


def kill(name: str) -> None:
    ray.kill(ray.get_actor(name, namespace="serve"), no_restart=True)


class Askers:
    """Threads that ask without a pause while the block runs; `images` and `errors` by the time of their end."""

    def __init__(self, client: OpenAI, count: int) -> None:
        self._client, self._count, self._stop = client, count, threading.Event()
        self.images: list[tuple[int, Any]] = []
        self.errors: list[Exception] = []

    def _ask(self, first: int) -> None:
        seed = first
        while not self._stop.is_set():
            try:
                self.images.append((seed % 4, ask(self._client, seed % 4)))
            except openai.APIStatusError as error:
                self.errors.append(error)
            seed += 1

    def wait_for(self, more: int) -> None:
        """Until so many more requests have ended."""
        wanted, ends = len(self.images) + len(self.errors) + more, time.monotonic() + 2 * TURN_S
        while len(self.images) + len(self.errors) < wanted:
            assert time.monotonic() < ends, "the requests do not end"
            time.sleep(0.1)

    def __enter__(self) -> Askers:
        self._pool = ThreadPoolExecutor(self._count)
        self._tasks = [self._pool.submit(self._ask, first) for first in range(self._count)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for task in self._tasks:
            task.result(timeout=2 * TURN_S)
        self._pool.shutdown()


def test_the_port_says_from_the_beginning_whether_the_models_are_there(service: Any, started: Any) -> None:
    """No connection is refused, and no path is said to be unknown: `Early` would have ended with an exception."""
    pages, ready = started[1].pages, started[1].ready
    assert {one.status_code for one in [*pages, *ready]} <= {200, 503}
    assert all(one.json()["ready"] == (one.status_code == 200) for one in ready)
    told = [re.search(r"<h1>(Loading.*?)</h1>", one.text) for one in pages]
    assert [one.status_code == 503 for one in pages] == [found is not None for found in told]
    early = {found.group(1) for found in told if found}
    assert "Loading" in early  # before there was an endpoint
    assert all(re.fullmatch(r"Loading(, [1-6] of 6)?", words) for words in early)
    assert httpx.get(f"{service.url}/studio", trust_env=False, timeout=60).status_code == 200


def test_the_official_client_gets_images_with_their_trace(client: OpenAI) -> None:
    image = ask(client, 1)
    trace = image.rlrig
    assert pixels(image.b64_json).shape == (64, 64, 3)
    assert trace["versions"] == {"actor": 0, "editor": 7}
    assert 1 <= len(trace["turns"]) <= 3
    (kept,) = [turn for turn in trace["turns"] if turn["kept"]][-1:]
    assert kept["b64_json"] == image.b64_json
    again = ask(client, 1)
    assert [turn["edit_prompt"] for turn in again.rlrig["turns"]] == [turn["edit_prompt"] for turn in trace["turns"]]
    assert np.abs(pixels(again.b64_json) - pixels(image.b64_json)).max() <= 2
    assert np.abs(pixels(ask(client, 1, model="rlrig-raw").b64_json) - pixels(image.b64_json)).max() <= 2


def test_the_engines_draw_check_and_edit_exactly_as_one_process_does(client: OpenAI) -> None:
    from rlrig.local.models import load_models
    from rollout.episode import play
    from rollout.progress import Progress
    from rollout.seeds import derive_seed
    from scenes.scene_graph import parse_prompt
    from scenes.shape_world import PREDICATES

    models, edits = load_models(load_config(TINY / "run.yaml"), Progress()), 0
    for seed in range(4):
        turns = ask(client, seed).rlrig["turns"]
        (episode,) = play(models, [parse_prompt(PROMPTS[seed % 2], PREDICATES)], derive_seed(seed, "generate"), 2)
        for frame, turn in zip(episode.frames[:2], turns[:2], strict=True):  # what comes next may be sampled
            assert (frame.seed, frame.edit_prompt, frame.kept) == (turn["seed"], turn["edit_prompt"], turn["kept"])
            assert np.array_equal(frame.image, pixels(turn["b64_json"]))
            assert turn["satisfaction"] == pytest.approx(frame.satisfaction, abs=1e-4)
            edits += frame.edit_prompt is not None
    assert edits >= 2


def test_an_uploaded_image_is_edited(client: OpenAI) -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    answer = client.images.edit(
        model="rlrig", image=("photo.png", encode_png(grey)), prompt=PROMPTS[0], extra_body={"trace_images": True}
    )
    first, *edits = answer.data[0].rlrig["turns"]
    assert pixels(first["b64_json"]).mean() == 128
    assert edits


def test_turns_arrive_one_by_one(client: OpenAI) -> None:
    with client.images.generate(
        model="rlrig", prompt=PROMPTS[0], stream=True, extra_body={"seed": 2, "turns": 2}
    ) as stream:
        arrived = [(event.type, time.monotonic()) for event in stream]
    kinds = [kind for kind, _ in arrived]
    assert kinds == ["image_generation.turn"] * (len(kinds) - 1) + ["image_generation.completed"]
    assert len(kinds) >= 3, "this prompt and seed need an edit"
    assert arrived[-1][1] - arrived[0][1] > 0.01


def test_a_client_that_leaves_frees_what_works_for_it(service: Any, client: OpenAI) -> None:
    def leave() -> None:
        with client.images.generate(
            model="rlrig", prompt=PROMPTS[0], n=4, stream=True, extra_body={"turns": 3}
        ) as stream:
            next(iter(stream))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: leave(), range(4)))
    ends = time.monotonic() + 10
    while service.load()["episodes"]:
        assert time.monotonic() < ends, service.load()
        time.sleep(0.1)


def test_new_weights_come_into_a_service_at_work(service: Any, client: OpenAI) -> None:
    updates = [changed("editor", 8, 0.97), changed("actor", 1, 1.02), changed("editor", 9, 1.03)]
    with Askers(client, 4) as askers:
        askers.wait_for(4)
        for update in updates:
            receipts = service.apply_weights(update)
            assert {receipt.digest for receipt in receipts} == {update.manifest.digest}
            assert len(receipts) == len(replicas_of(update.manifest.policy))
            askers.wait_for(6)
    assert askers.errors == []
    order = [(0, 7), (0, 8), (1, 8), (1, 9)]
    versions = [(image.rlrig["versions"]["actor"], image.rlrig["versions"]["editor"]) for _, image in askers.images]
    assert set(versions) == set(order)
    same: dict[tuple[int, tuple[int, int]], Any] = {}
    for (seed, image), found in zip(askers.images, versions, strict=True):
        first = same.setdefault((seed, found), image)  # one version of each policy made all of it, so these are equal
        texts = [[turn["edit_prompt"] for turn in one.rlrig["turns"]] for one in (first, image)]
        assert texts[0] == texts[1]
        assert np.abs(pixels(first.b64_json) - pixels(image.b64_json)).mean() < 1
    assert [model.versions for model in client.models.list() if model.id == "rlrig"] == [{"actor": 1, "editor": 9}]


def test_weights_that_do_not_fit_leave_what_is_served(service: Any, client: OpenAI) -> None:
    with pytest.raises(WeightMismatch, match="surprise"):
        service.apply_weights(pack("editor", 10, {"surprise": torch.ones(2)}))
    assert ask(client, 1).rlrig["versions"] == {"actor": 1, "editor": 9}


def test_a_replica_that_dies_costs_no_request(service: Any, client: OpenAI) -> None:
    before = replicas_of("editor")
    with Askers(client, 6) as askers:
        askers.wait_for(6)
        kill(before[0])
        askers.wait_for(12)
        kill(replicas_of("diffuser")[0])
        askers.wait_for(12)
        kill(replicas_of("actor")[0])
        askers.wait_for(12)
    assert [error.status_code for error in askers.errors if error.status_code != 503] == []
    assert all(error.response.headers["retry-after"] for error in askers.errors)
    assert len(askers.images) >= 3 * len(askers.errors)
    assert {tuple(image.rlrig["versions"].values()) for _, image in askers.images} == {(1, 9)}  # successors too
    ends = time.monotonic() + 2 * TURN_S
    while service.trouble() or len(replicas_of("editor")) < len(before):
        assert time.monotonic() < ends, service.trouble()
        time.sleep(0.5)


def test_an_endpoint_that_is_started_again_knows_what_its_replicas_hold(service: Any, client: OpenAI) -> None:
    (endpoint,) = replicas_of("endpoint")
    kill(endpoint)
    ends = time.monotonic() + 2 * TURN_S
    while replicas_of("endpoint") in ([], [endpoint]) or service.trouble():
        assert time.monotonic() < ends, service.trouble()
        time.sleep(0.5)
    assert ask(client, 3).rlrig["versions"] == {"actor": 1, "editor": 9}
