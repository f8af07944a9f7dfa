"""What uploads that are made to cost much cost another client: its latency when it is alone and during the attack.

    .venv/bin/python -m experiments.faults.upload_attack [FILE] [--attackers 7] [--seconds 10] [--url http://127.0.0.1:8000]

FILE is what the attackers upload, by default a JPEG of 11,000 scans. Without `--url` the endpoint runs in this process
over a service that answers at once, so that nothing but the endpoint's own work is measured; with it, this is the one
that `rlrig serve` has started, whose episodes take their time. The client and the attackers have processes of their
own.
"""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import os
import queue
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import typer
import uvicorn
from PIL import Image

from rollout.state import Episode, Frame
from scenes.pictures.size import PictureSize
from scenes.png import encode_png
from serving.generation import Answer
from serving.proxy.limits import LimitedProtocol
from studio.api.app import make_app
from studio.config import GatewayConfig
from studio.episodes.service import Ask, Finished, ModelInfo, ServiceUnavailable, TurnReady

_SCANS = 11_000
_PROMPT = "red circle left of blue square"
_FORM = {"prompt": _PROMPT}


class _AtOnce:
    """A service whose episodes are the uploaded image."""

    image_size = PictureSize(64, 64)

    def models(self) -> list[ModelInfo]:
        return [ModelInfo("rlrig")]

    async def ready(self) -> dict[str, str]:
        return {}

    async def say(self, text: str) -> Answer:
        raise ServiceUnavailable("nobody asks it")

    async def episode(self, ask: Ask) -> AsyncGenerator[TurnReady | Finished, None]:
        image = np.zeros((64, 64, 3), np.uint8) if ask.image is None else ask.image
        frame = Frame(image, [1.0] * len(ask.graph.requirements))
        yield TurnReady(0, frame)
        yield Finished(Episode(ask.graph, [frame]), {}, {})


def costly_jpeg() -> bytes:
    """A small progressive JPEG whose last scan is there 11,000 times."""
    buffer = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").save(buffer, "JPEG", progressive=True)
    whole = buffer.getvalue()[:-2]
    return whole + whole[whole.rindex(b"\xff\xda") :] * _SCANS + b"\xff\xd9"


def ask_for(
    url: str, seconds: float, started: multiprocessing.synchronize.Event, found: multiprocessing.Queue[Any]
) -> None:
    """One client's edits, one after the other: `found` gets the seconds that each took."""
    files = {"image": ("a.png", encode_png(np.full((64, 64, 3), 50, np.uint8)))}
    latencies = []
    with httpx.Client(timeout=120, trust_env=False) as http:
        http.post(f"{url}/v1/images/edits", files=files, data=_FORM).raise_for_status()
        started.set()
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            began = time.monotonic()
            http.post(f"{url}/v1/images/edits", files=files, data=_FORM).raise_for_status()
            latencies.append(time.monotonic() - began)
    found.put(latencies)


def attack(url: str, data: bytes, ended: multiprocessing.synchronize.Event, found: multiprocessing.Queue[Any]) -> None:
    """One attacker's uploads, one after the other: `found` gets the statuses of the answers."""
    os.nice(19)  # what the attackers compute themselves is not measured
    statuses = []
    with httpx.Client(timeout=120, trust_env=False) as http:
        while not ended.is_set():
            statuses.append(
                http.post(f"{url}/v1/images/edits", files={"image": ("a.jpg", data)}, data=_FORM).status_code
            )
    found.put(statuses)


def main(
    file: Annotated[Path | None, typer.Argument(help="What is uploaded.")] = None,
    attackers: Annotated[int, typer.Option(help="Uploads at a time.")] = 7,
    seconds: Annotated[float, typer.Option(help="How long each of the two measurements takes.")] = 10.0,
    url: Annotated[str, typer.Option(help="Of a running endpoint without a token.")] = "",
) -> None:
    data = costly_jpeg() if file is None else file.read_bytes()
    with nullcontext(url) if url else served(attackers) as place:
        measure(place, data, attackers, seconds)


@contextmanager
def served(attackers: int) -> Iterator[str]:
    """An endpoint in this process, over a service that answers at once: its address."""
    app = make_app(_AtOnce(), GatewayConfig(max_requests_per_client=attackers + 8), token="")
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=LimitedProtocol, proxy_headers=False, lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def measure(url: str, data: bytes, attackers: int, seconds: float) -> None:
    """Measure one client alone, then with the attackers beside it, and print both."""
    spawn = multiprocessing.get_context("spawn")

    def measured() -> list[float]:
        started, found = spawn.Event(), spawn.Queue()
        client = spawn.Process(target=ask_for, args=(url, seconds, started, found))
        client.start()
        return _told(found, client, "the client")

    alone = measured()
    ended, answers = spawn.Event(), spawn.Queue()
    crowd = [spawn.Process(target=attack, args=(url, data, ended, answers)) for _ in range(attackers)]
    for one in crowd:
        one.start()
    time.sleep(2)
    attacked = measured()
    ended.set()
    statuses = [status for one in crowd for status in _told(answers, one, "an attacker")]
    for name, latencies in (("alone", alone), ("attacked", attacked)):
        p50, p95 = np.percentile(latencies, (50, 95))
        print(f"{name}: {len(latencies)} answers, p50 {1000 * p50:.0f} ms, p95 {1000 * p95:.0f} ms")
    print(f"attackers: {len(statuses)} uploads of {len(data)} bytes, statuses {sorted(set(statuses))}")


def _told(found: multiprocessing.Queue[Any], process: Any, who: str) -> list[Any]:
    """What a process has put into the queue before its end."""
    while True:
        try:
            told: list[Any] = found.get(timeout=1)
            return told
        except queue.Empty:
            if process.exitcode not in (None, 0):
                raise SystemExit(f"{who} ended with exit code {process.exitcode}; is the endpoint up?") from None


if __name__ == "__main__":
    typer.run(main)
