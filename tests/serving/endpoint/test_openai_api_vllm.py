"""The client, the extractor and the judge against vLLM's own OpenAI server, with the small Checker as the model."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from experiments.faults.processes import family
from measuring.image_scorer import Unscored, tally
from measuring.vlm_extraction import VlmExtractor
from measuring.vlm_judge import VlmJudge
from scenes.dialogue import checker_question
from scenes.scene_graph import SceneGraph
from scenes.shape_world import INVERSE, sample_scene
from serving.config import VlmConfig
from serving.endpoint.config import EndpointConfig
from serving.endpoint.openai_api import Endpoint, EndpointError
from tests.places import TINY
from tests.serving.conftest import Reference

pytestmark = [pytest.mark.engines, pytest.mark.long]

CHECKER = TINY / "models" / "checker"
START_DEADLINE_S = 400
CONTEXT = 1024  # the extractor's request alone is longer than what the Checker was trained on
SCENES = [sample_scene(np.random.default_rng(seed), img_id=f"scene-{seed}") for seed in range(10)]


@dataclass(frozen=True)
class Server:
    """A running server, and the folder of the model that it serves as `checker`."""

    url: str
    folder: Path

    def endpoint(self, **fields: object) -> Endpoint:
        limits = {"timeout_s": 120.0, "deadline_s": 240.0, "api_key_env": "", "concurrency": 4}
        return Endpoint(EndpointConfig(**{"base_url": f"{self.url}/v1", "model": "checker", **limits, **fields}))

    def counters(self) -> dict[str, int]:
        """What the server itself counts: requests that it finished, and tokens."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=30) as response:
            text = response.read().decode()
        names = {"requests": "request_success", "prompt": "prompt_tokens", "completion": "generation_tokens"}
        pattern = r"^vllm:{}_total(?:\{{[^}}]*\}})? ([0-9.e+]+)$"
        return {
            key: int(sum(map(float, re.findall(pattern.format(name), text, re.MULTILINE))))
            for key, name in names.items()
        }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    model = Path(shutil.copytree(CHECKER, folder / "checker"))
    settings = VlmConfig(model=str(model))
    port = free_port()
    options = {
        "--host": "127.0.0.1",
        "--port": str(port),
        "--served-model-name": "checker",
        "--dtype": settings.dtype,
        "--max-model-len": str(CONTEXT),
        "--max-num-seqs": "8",
        "--kv-cache-memory-bytes": str(settings.engine_arguments["kv_cache_memory_bytes"]),
        "--limit-mm-per-prompt": json.dumps(settings.engine_arguments["limit_mm_per_prompt"]),
        "--hf-overrides": json.dumps({"text_config": {"max_position_embeddings": CONTEXT}}),
        "--uvicorn-log-level": "warning",
    }
    flags = ["--enforce-eager", "--skip-mm-profiling", "--no-enable-chunked-prefill"]
    # What `vllm serve` runs; that command itself looks for a package of the name vllm, which the CPU build has not.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), *flags]
    command += [word for pair in options.items() for word in pair]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **settings.environment},
            start_new_session=True,
        )
    started = Server(f"http://127.0.0.1:{port}", model)
    its_own: list[psutil.Process] = []
    try:
        wait_until_healthy(started.url, process, folder / "log")
        its_own = family(process.pid)
        yield started
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):  # what is left then is killed, and the test fails
            process.wait(timeout=60)
        _, alive = psutil.wait_procs(its_own, timeout=30)
        stopped = process.poll() is not None and not alive
        with suppress(ProcessLookupError):  # nothing of it is left
            os.killpg(process.pid, signal.SIGKILL)
        assert stopped, f"vLLM's server did not stop: {alive}"


def wait_until_healthy(url: str, process: subprocess.Popen, log: Path) -> None:
    ends = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < ends:
        if process.poll() is not None:
            pytest.fail(f"vLLM's server ended with {process.returncode}: {log.read_text()[-3000:]}")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as response:
                if response.status == 200:
                    return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(1.0)  # it does not listen yet
    pytest.fail(f"vLLM's server was not healthy within {START_DEADLINE_S} s: {log.read_text()[-3000:]}")


def turned(graph: SceneGraph) -> SceneGraph:
    """The graph with every relation the other way round, so that none of its requirements holds."""
    relations = tuple(replace(relation, predicate=INVERSE[relation.predicate]) for relation in graph.relations)
    return replace(graph, relations=relations)


def test_the_checker_judges_over_http_as_it_answers_in_transformers(server: Server) -> None:
    graphs = [scene.graph for scene in SCENES] + [turned(scene.graph) for scene in SCENES]
    images = [scene.image for scene in SCENES] * 2
    before = server.counters()
    endpoint = server.endpoint(max_tokens=4)
    scores = VlmJudge(endpoint).score(graphs, images)
    assert tally(scores) == {"n_scored": 20, "n_failed": 0, "reasons": {}}
    true, false = np.mean(scores[:10]), np.mean(scores[10:])
    assert true > false + 0.3, (true, false)

    reference = Reference(server.folder)
    tokenizer = reference.processor.tokenizer
    for graph, image, score in list(zip(graphs, images, scores, strict=True))[::3]:
        questions = [checker_question(requirement) for requirement in graph.requirements]
        answers = [tokenizer.decode(reference.greedy(image, q, 4), skip_special_tokens=True) for q in questions]
        assert score == np.mean([answer.strip() == "yes" for answer in answers])

    after, usage = server.counters(), endpoint.usage
    assert usage.requests == sum(len(graph.requirements) for graph in graphs)
    assert (usage.retries, usage.failures, usage.without_token_count) == (0, 0, 0)
    assert after["requests"] - before["requests"] == usage.requests
    assert after["prompt"] - before["prompt"] == usage.prompt_tokens
    assert after["completion"] - before["completion"] == usage.completion_tokens


def test_an_extraction_that_the_small_model_cannot_write_is_counted_as_failed(server: Server) -> None:
    before = server.counters()
    endpoint = server.endpoint(max_tokens=32)
    extractor = VlmExtractor(endpoint, tries=2)
    results = extractor.score([scene.graph for scene in SCENES[:3]], [scene.image for scene in SCENES[:3]])
    reason = "unreadable in 2 tries, at last: there is no JSON object in the answer"
    for result in results:
        assert isinstance(result, Unscored)
        assert result.reason.removesuffix(" (it was cut off)") == reason
    after, usage = server.counters(), endpoint.usage
    assert (usage.requests, usage.retries, usage.failures) == (6, 0, 0)
    assert extractor.report()["unreadable_answers"] == 6
    assert after["requests"] - before["requests"] == 6
    assert after["prompt"] - before["prompt"] == usage.prompt_tokens > 6 * 100
    assert after["completion"] - before["completion"] == usage.completion_tokens > 0


def test_what_vllm_refuses_is_told_apart(server: Server) -> None:
    wide = server.endpoint(max_tokens=4 * CONTEXT)  # vLLM refuses more tokens than the context holds
    wide.probe()
    assert (wide.usage.requests, wide.usage.retries, wide.usage.failures) == (2, 1, 0)
    with pytest.raises(EndpointError, match=r"404: .*is there a model 'other'") as caught:
        server.endpoint(model="other").probe()
    assert caught.value.permanent
    with pytest.raises(EndpointError, match="404"):
        server.endpoint(base_url=server.url).probe()
