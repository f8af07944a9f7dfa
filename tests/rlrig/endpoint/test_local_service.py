"""The endpoint's episodes on models in one process."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

from presets.run_file import load_config
from rlrig.endpoint import here, local_service
from rlrig.endpoint.here import serve_here
from rlrig.endpoint.local_service import LocalService
from rlrig.endpoint.plan import ServingPlan
from rollout.progress import Progress
from scenes.scene_graph import parse_prompt
from scenes.shape_world import PREDICATES
from serving.generation import Answer, Question, Sampling
from studio.config import GatewayConfig
from studio.episodes.service import Ask, Finished, ServiceUnavailable, TurnReady
from tests.places import TINY
from tests.rollout.scripted_models import ScriptedModels
from tests.studio.loopback import wait_for
from tests.studio.scripted_episodes import TEXT, yes_or_no

PROMPT = "red circle left of blue square; green star above red circle"
GRAPH = parse_prompt(PROMPT, PREDICATES)
TOKEN = "a-token-of-enough-characters"
VERSIONS = {"actor": 32, "editor": 16}
CONFIG = load_config(TINY / "run.yaml")


class Vlm:
    """A `LocalVlm` that answers as scripted models do."""

    def __init__(self, models: ScriptedModels) -> None:
        self._models, self.compute_seconds = models, 0.0

    def generate(self, images: Sequence[Any], questions: Sequence[Question], sampling: Sampling) -> list[list[Answer]]:
        if not sampling.words:
            return [[Answer(TEXT, [1], [-0.1], True, 0)] for _ in questions]
        held = [self._models.checker.satisfaction([images[one.image]], [[one]])[0][0] for one in questions]
        return [[yes_or_no(value)] for value in held]


class Edits:
    """An Inverse Diffuser that edits as scripted models do, with the version of the weights on disk."""

    def __init__(self, models: ScriptedModels) -> None:
        self._models = models

    def edit(self, *columns: Any) -> list[Any]:
        return [SimpleNamespace(image=edit.image, version=0) for edit in self._models.editor.edit(*columns)]


class Loads:
    """Stands in for what loads models: one is loaded for each `release`."""

    def __init__(self) -> None:
        self.models = ScriptedModels(threshold=160, first=10, spread=20)
        self.asked: list[tuple[str, int]] = []
        self._let = threading.Semaphore(0)

    def release(self, count: int = 1) -> None:
        self._let.release(count)

    def __call__(self, config: Any, role: str, version: int) -> Any:
        self.asked.append((role, version))
        assert self._let.acquire(timeout=30)
        if role in ("actor", "checker"):
            return Vlm(self.models)
        return self.models.diffuser if role == "diffuser" else Edits(self.models)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    stand_in = Loads()
    monkeypatch.setattr(local_service, "load_role", stand_in)
    monkeypatch.setattr(local_service, "_new_thread", lambda name: ThreadPoolExecutor(1))
    return stand_in


async def frames_of(service: LocalService, model: str = "rlrig", seed: int = 3) -> list[TurnReady | Finished]:
    return [event async for event in service.episodes.episode(Ask(GRAPH, seed, 2, model))]


def test_what_is_not_loaded_yet_is_said_and_can_be_asked_for_again(loads: Loads) -> None:
    service, said = LocalService(CONFIG, GatewayConfig(), CONFIG, VERSIONS), []
    assert asyncio.run(service.episodes.ready()) == dict.fromkeys(
        ("diffuser", "checker", "actor", "editor", "actor-raw", "editor-raw"), "it waits to be loaded"
    )
    with pytest.raises(ServiceUnavailable, match="the diffuser is still loading; ask again") as raised:
        asyncio.run(frames_of(service))
    assert raised.value.retry_after_s > 0
    loads.release(6)
    service.load(said.append)
    assert said[0] == "loading, 1 of 6: Inverse Diffuser"
    assert said[-1] == "loading, 6 of 6: Actor, untrained"
    assert loads.asked == [("editor", 0), ("diffuser", 0), ("actor", 0), ("checker", 0), ("editor", 0), ("actor", 0)]
    (*frames, finished) = asyncio.run(frames_of(service))
    assert isinstance(finished, Finished)
    assert (len(frames), finished.versions) == (len(finished.episode.frames), VERSIONS)
    (*_, untrained) = asyncio.run(frames_of(service, "rlrig-raw"))
    assert isinstance(untrained, Finished)
    assert untrained.versions == {"actor": 0, "editor": 0}
    assert [model.id for model in service.episodes.models()] == ["rlrig", "rlrig-raw"]


def test_many_at_once_meet_in_batches_and_get_what_each_gets_alone(loads: Loads) -> None:
    loads.release(4)
    service = LocalService(CONFIG, GatewayConfig(), None, VERSIONS)
    service.load(lambda _: None)

    async def together() -> list[list[TurnReady | Finished]]:
        return await asyncio.gather(*(frames_of(service, seed=seed) for seed in range(6)))

    crowd = asyncio.run(together())
    for seed, (*_, ours) in enumerate(crowd):
        (*_, alone) = asyncio.run(frames_of(service, seed=seed))
        assert isinstance(ours, Finished)
        assert isinstance(alone, Finished)
        for frame, other in zip(ours.episode.frames, alone.episode.frames, strict=True):
            assert np.array_equal(frame.image, other.image)
            assert (frame.edit_prompt, frame.satisfaction) == (other.edit_prompt, other.satisfaction)


class Served:
    """A plan that is served in a thread until the block ends, and what it said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, token: str = "", **gateway: Any) -> None:
        self.progress, self.over, self.ended = Progress(), threading.Event(), threading.Event()
        run, plan = here.run_server, ServingPlan(CONFIG, None, VERSIONS, None, tmp_path)

        def until_over(app: Any, config: Any, beside: Callable[[str], None]) -> None:
            def work(url: str) -> None:
                beside(url)
                self.over.wait(60)
                raise InterruptedError

            run(app, config, work)

        monkeypatch.setattr(here, "run_server", until_over)

        def serve() -> None:
            with pytest.raises(InterruptedError):
                serve_here(plan, GatewayConfig(port=0, **gateway), token, self.progress)
            self.ended.set()

        self._thread = threading.Thread(target=serve, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        wait_for(lambda: self.progress.notes, "the port")
        return self.progress.notes[0].partition("/studio answers")[0]

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._thread.join(30)
        assert self.ended.is_set()


@pytest.fixture
def asks() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=30) as client:
        yield client


def wanted(url: str, client: httpx.Client, **more: Any) -> httpx.Response:
    return client.post(f"{url}/v1/images/generations", json={"prompt": PROMPT, "seed": 1, **more})


def test_the_port_says_what_loads_until_it_answers(
    loads: Loads, asks: httpx.Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    served = Served(monkeypatch, tmp_path)
    with served as url:
        loads.release()
        wait_for(lambda: len(loads.asked) == 2, "the second model")
        ready = asks.get(f"{url}/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        assert ready.json()["roles"] == {
            "editor": "ready",
            "diffuser": "loading, 2 of 4",
            "actor": "it waits to be loaded",
            "checker": "it waits to be loaded",
        }
        page = asks.get(f"{url}/studio")
        assert (page.status_code, page.headers["refresh"]) == (503, "1")
        assert "<h1>Loading, 2 of 4</h1>" in page.text
        assert (asks.get(f"{url}/healthz").status_code, asks.get(f"{url}/runs").status_code) == (200, 200)
        early = wanted(url, asks)
        assert (early.status_code, early.json()["error"]["code"]) == (503, "service_unavailable")
        assert int(early.headers["retry-after"]) > 0
        loads.release(3)
        wait_for(lambda: served.progress.notes[-1].startswith("ready: "), "the models")
        time.sleep(1.1)  # what it says of itself is at most a second old
        assert asks.get(f"{url}/readyz").status_code == 200
        assert ">Studio</h1>" in asks.get(f"{url}/studio").text
        assert wanted(url, asks).json()["data"][0]["rlrig"]["versions"] == VERSIONS
    assert served.progress.notes[1:5] == [
        "loading, 1 of 4: Inverse Diffuser",
        "loading, 2 of 4: Diffuser",
        "loading, 3 of 4: Actor",
        "loading, 4 of 4: Checker",
    ]


def test_the_limits_of_the_served_path_hold(
    loads: Loads, asks: httpx.Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loads.release(4)
    limits = {"max_n": 2, "max_requirements": 1, "max_upload_bytes": 1000}
    served = Served(monkeypatch, tmp_path, TOKEN, **limits)
    with served as url:
        wait_for(lambda: served.progress.notes[-1].startswith("ready: "), "the models")
        assert wanted(url, asks).status_code == 401
        assert asks.get(f"{url}/v1/models").status_code == 401
        assert asks.get(f"{url}/metrics").status_code == 401
        hidden = asks.get(f"{url}/readyz").json()["roles"]
        asks.headers["Authorization"] = f"Bearer {TOKEN}"
        assert set(hidden.values()) == {"ready"}
        assert wanted(url, asks).json()["error"]["code"] == "too_many_requirements"
        one = {"prompt": "red circle left of blue square"}
        assert wanted(url, asks, n=3, **one).status_code == 400
        assert wanted(url, asks, **one, user="x" * 5_000_000).status_code == 413
        assert asks.get(f"{url}/healthz", headers={"X-Long": "x" * 200_000}).status_code == 431
        assert wanted(url, asks, **one).status_code == 200
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=20) as stranger:
            stranger.sendall(b"no HTTP at all\r\n\r\n")
            assert b"400 Bad Request" in stranger.recv(4096)


def test_the_port_is_there_before_any_engine_is_loaded() -> None:
    code = (
        "import sys\n"
        "from rlrig.endpoint import here, start\n"
        "from rlrig.endpoint.plan import serving_plan\n"
        "from studio.config import GatewayConfig\n"
        "def loaded(app, gateway, beside):\n"
        "    print([name for name in ('ray', 'torch', 'transformers', 'diffusers', 'vllm') if name in sys.modules])\n"
        "here.run_server = loaded\n"
        "from rollout.progress import Progress\n"
        "start.serve(serving_plan(None, None, True, []), GatewayConfig(port=0), '', Progress(), None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr[-2000:]


def test_a_model_that_cannot_be_loaded_ends_the_endpoint(
    monkeypatch: pytest.MonkeyPatch, loads: Loads, tmp_path: Path
) -> None:
    def broken(config: Any, role: str, version: int) -> Any:
        raise FileNotFoundError(f"{role}: its weights are gone")

    monkeypatch.setattr(local_service, "load_role", broken)
    plan, progress = ServingPlan(CONFIG, None, VERSIONS, None, tmp_path), Progress()
    with pytest.raises(FileNotFoundError, match="editor: its weights are gone"):
        serve_here(plan, GatewayConfig(port=0), "", progress)
    assert not progress.notes[-1].startswith("ready")


@pytest.mark.engines
def test_the_small_models_make_the_pictures_of_rlrig_generate() -> None:
    from rlrig.local.models import load_models
    from rollout.episode import play
    from rollout.seeds import derive_seed

    service = LocalService(CONFIG, GatewayConfig(turn_deadline_s=300), None, VERSIONS)
    service.load(lambda _: None)

    async def together() -> list[list[TurnReady | Finished]]:
        return await asyncio.gather(*(frames_of(service, seed=seed) for seed in range(3)))

    served, models, edits = asyncio.run(together()), load_models(CONFIG, Progress()), 0
    for seed, (*_, finished) in enumerate(served):
        assert isinstance(finished, Finished)
        (episode,) = play(models, [GRAPH], derive_seed(seed, "generate"), 2)
        for frame, other in zip(finished.episode.frames, episode.frames, strict=True):
            assert (frame.seed, frame.edit_prompt, frame.kept) == (other.seed, other.edit_prompt, other.kept)
            assert np.abs(frame.image.astype(int) - other.image).max() <= 1
            assert frame.satisfaction == pytest.approx(other.satisfaction, abs=1e-4)
            edits += frame.edit_prompt is not None
    assert edits >= 2
