"""What the endpoint carries: throughput, latency and errors at several numbers of clients, beside the bare models.

    .venv/bin/python -m benchmarks.endpoint_load [PRESET] [--clients 1,4,16,64] [--seconds 30] [--prompts 64]

*Bare* is `rollout.episode.play` over the same prompts in one batch, with as many workers of each role. Each client asks
for one image after the other, over HTTP. What is counted ends within the time that is measured; before it, the clients
ask for a quarter of it, so that all are at work; requests under way at its end are given up and counted nowhere.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import httpx
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from presets.places import TINY, preset_at
from presets.run_config import RunConfig
from presets.run_file import load_config
from reports.status.progress_display import LineProgress
from rlrig.command import Set, exit_codes
from rollout.local_ray import ray_for_run
from rollout.progress import Progress
from rollout.prompts import load_prompts
from scenes.scene_graph import SceneGraph
from studio.config import GatewayConfig

_MOST = 4096
_TIMEOUT_S = 300.0
_PERCENTILES = (50, 95, 99)
_HEADINGS = ("clients", "answers", "errors", "a second", "p50 s", "p95 s", "p99 s", "of bare")


@dataclass
class Load:
    """What came of the requests of some clients in `seconds`: the latency of each answer, in seconds, and how many
    failed for which reason."""

    clients: int
    seconds: float
    latencies: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def throughput(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    @property
    def percentiles(self) -> tuple[float, ...]:
        """The 50th, 95th and 99th percentile of the latencies, NaN without an answer."""
        return tuple(np.percentile(self.latencies, _PERCENTILES) if self.latencies else [np.nan] * 3)

    def row(self, bare: float) -> list[str]:
        """The row of the table, beside the throughput of the bare models."""
        share = f"{self.throughput / bare:.0%}"
        middle = [f"{self.throughput:.2f}", *(f"{value:.2f}" for value in self.percentiles)]
        return [str(self.clients), str(len(self.latencies)), str(self.errors.total()), *middle, share]


async def measure(url: str, prompts: Sequence[str], clients: int, seconds: float) -> Load:
    """Let this many clients ask for images of the prompts in turn, and count for `seconds`.

    Args:
        url: of the endpoint.
        prompts: what is asked for.
        clients: requests under way at the same time.
        seconds: that are counted.
    """
    load, numbers = Load(clients, seconds), iter(range(1 << 40))
    begins = time.monotonic() + seconds / 4
    ends = begins + seconds
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)

    async def client(session: httpx.AsyncClient) -> None:
        while True:
            number = next(numbers)
            body = {"model": "rlrig", "prompt": prompts[number % len(prompts)], "seed": number}
            asked = time.monotonic()
            try:
                answer = await session.post(f"{url}/v1/images/generations", json=body)
                reason = "" if answer.is_success else str(answer.status_code)
            except httpx.HTTPError as error:
                reason = type(error).__name__
            now = time.monotonic()
            if not begins <= now <= ends:
                continue
            if reason:
                load.errors[reason] += 1
            else:
                load.latencies.append(now - asked)

    async with httpx.AsyncClient(limits=limits, timeout=_TIMEOUT_S, trust_env=False) as session:
        tasks = [asyncio.create_task(client(session)) for _ in range(clients)]
        await asyncio.wait(tasks, timeout=ends - time.monotonic(), return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error
    return load


def main(
    preset: Annotated[Path, typer.Argument(help="Run file.")] = TINY,
    set_: Set = None,
    clients: Annotated[str, typer.Option(help="Numbers of clients.")] = "1,4,16,64",
    seconds: Annotated[float, typer.Option(min=1, help="Seconds that are counted, for each number of clients.")] = 30.0,
    prompts: Annotated[int, typer.Option(min=1, help="Prompts, which are also the bare models' batch.")] = 64,
    out: Annotated[Path | None, typer.Option(help="Write the numbers there, as JSON.")] = None,
) -> None:
    """Measure the endpoint and the bare models behind it, one after the other."""
    with exit_codes():
        config = load_config(preset_at(preset), set_ or [])
        graphs = load_prompts(config.data, config.seed).held_out[:prompts]
        console = Console()
        progress = LineProgress(console)
        with ray_for_run(config.ray):
            bare = _bare_throughput(config, graphs, progress)
            console.print(f"bare: {bare:.2f} episodes a second", highlight=False)
            loads = _endpoint_loads(config, graphs, [int(one) for one in clients.split(",")], seconds, progress)
        table = Table(*_HEADINGS)
        for load in loads:
            table.add_row(*load.row(bare))
        console.print(table)
        for load in loads:
            if load.errors:
                console.print(f"{load.clients} clients: {dict(load.errors)}")
        if out:
            rows = [{**asdict(load), "throughput": load.throughput} for load in loads]
            out.write_text(json.dumps({"bare": bare, "loads": rows}, indent=1), encoding="utf-8")


def _bare_throughput(config: RunConfig, graphs: Sequence[SceneGraph], progress: Progress) -> float:
    from rollout.episode import play
    from rollout.models import start_models

    models = start_models(config, progress)
    try:
        play(models, graphs[:4], seed=1, turns=config.rollout.turns)  # what is loaded at the first call is not counted
        began = time.monotonic()
        play(models, graphs, seed=0, turns=config.rollout.turns)
        return len(graphs) / (time.monotonic() - began)
    finally:
        models.close()


def _endpoint_loads(
    config: RunConfig, graphs: Sequence[SceneGraph], clients: Sequence[int], seconds: float, progress: Progress
) -> list[Load]:
    from studio.deployed_service import DeployedService

    gateway = GatewayConfig(port=0, max_requests=_MOST, max_requests_per_client=_MOST)
    service = DeployedService(config, gateway, note=progress.note)
    try:
        asked = [graph.prompt for graph in graphs]
        asyncio.run(measure(service.url, asked, 4, min(seconds, 5.0)))
        loads = []
        for count in clients:
            loads.append(asyncio.run(measure(service.url, asked, count, seconds)))
            progress.note(f"{count} clients: {loads[-1].throughput:.2f} a second")
        return loads
    finally:
        service.close()


if __name__ == "__main__":
    typer.run(main)
