"""What a run does while its cluster grows from one node to five and back and loses one on the way.

    .venv/bin/python -m benchmarks.elastic [--out runs/elastic] [--write]

Ray's real autoscaler adds and takes nodes, which are sets of Ray processes on this machine. Once five nodes are there,
one of those with an Inverse Diffuser is killed without warning. `--write` makes `docs/elastic.md` and its plot anew.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import ray
import typer
from rich.console import Console

from benchmarks.elastic_plot import plot
from benchmarks.elastic_run import (
    MOST_NODES,
    REPOSITORY,
    UPDATES,
    Account,
    Sight,
    account,
    actors,
    new_cluster,
    node_of,
    start,
    watch,
)

_PAGE, _PLOT = REPOSITORY / "docs" / "elastic.md", REPOSITORY / "docs" / "pictures" / "elastic.svg"
_START_S, _GROWN_S, _STEP_S = 600.0, 300.0, 300.0


@dataclass(frozen=True)
class Course:
    """What was seen. Times are in seconds since the run began.

    Attributes:
        cores: of the machine.
        trains_at: the first rollout began.
        grown_at: five nodes were there, with an Inverse Diffuser each.
        killed_at: a node was killed.
        update_after_s: seconds from then to the next complete update.
        node_after_s: seconds from then until another node had taken its place; None where it was not wanted any more.
        shrunk_at: one node was left, while it trained.
        sights: nodes and processes by role over time.
        images: of each update, when it began, when it was complete, and images that it learned from per second.
        account: what it learned from.
    """

    cores: int
    trains_at: float
    grown_at: float
    killed_at: float
    update_after_s: float
    node_after_s: float | None
    shrunk_at: float
    sights: list[Sight]
    images: list[tuple[float, float, float]]
    account: Account


def observe(out: Path, preset: Path) -> Course:
    """One run.

    Raises:
        RunFailed: it did not do in time what it should, or failed.
    """
    shutil.rmtree(out, ignore_errors=True)
    seen: list[Sight] = []
    with new_cluster() as cluster:
        ray.init(address=cluster.address, log_to_driver=False)
        try:
            began = time.monotonic()
            with start(cluster, out, preset) as run:
                first = run.wait_for(
                    lambda e: (e["event"], e.get("phase")) == ("begin", "rollout"), "training", _START_S
                )
                trains_at = run.events[first][0] - began
                grown = watch(run, _grown, "five nodes with an editor each", _GROWN_S, began, seen)
                head = ray.get_runtime_context().get_node_id()
                victim = next(node_of(actor) for actor in actors("editor") if node_of(actor) != head)
                there = len(run.events)
                cluster.kill_node(victim)
                killed_at = time.monotonic() - began
                watch(
                    run, lambda _: any(_is_update(e) for _, e in run.events[there:]), "an update", _STEP_S, began, seen
                )
                update_at = next(at for at, event in run.events[there:] if _is_update(event)) - began
                shrunk = watch(run, lambda now: now.nodes == 1, "one node while it trains", _STEP_S, began, seen)
                code = run.wait(_STEP_S)
                if code:
                    raise SystemExit(f"the run ended with exit code {code}: {run.message}; see {run.log}")
                events = [(at - began, event) for at, event in run.events if _is_update(event)]
        finally:
            ray.shutdown()
    ends = [trains_at, *(at for at, _ in events)]
    images = [(before, at, event["images"] / (at - before)) for before, (at, event) in zip(ends, events, strict=False)]
    return Course(
        os.cpu_count() or 1,
        trains_at,
        grown.seconds,
        killed_at,
        update_at - killed_at,
        _replaced_after(seen, killed_at),
        shrunk.seconds,
        seen,
        images,
        account(out),
    )


def _replaced_after(seen: Sequence[Sight], killed_at: float) -> float | None:
    """Seconds from the loss of a node until there were as many as before; Ray takes a while to notice the loss."""
    later = [sight for sight in seen if sight.seconds > killed_at]
    fewer = next((k for k, sight in enumerate(later) if sight.nodes < MOST_NODES), len(later))
    return next((sight.seconds - killed_at for sight in later[fewer:] if sight.nodes == MOST_NODES), None)


def _grown(now: Sight) -> bool:
    return now.nodes == MOST_NODES and now.workers["editor"] == MOST_NODES


def _is_update(event: dict[str, Any]) -> bool:
    return bool(event["event"] == "update")


def page(course: Course) -> str:
    """`docs/elastic.md`."""
    most = max(rate for *_, rate in course.images)
    replaced = "not before demand fell" if course.node_after_s is None else _s(course.node_after_s)
    rows = {
        "updates": f"{course.account.updates} of {UPDATES}",
        "groups lost": course.account.lost,
        "groups trained on twice": course.account.twice,
        f"from the first rollout to {MOST_NODES} nodes with an Inverse Diffuser each": _s(
            course.grown_at - course.trains_at
        ),
        "from the loss of a node to the next complete update": _s(course.update_after_s),
        "from the loss of a node until another took its place": replaced,
        "from the loss of a node to one node, while it trains": _s(course.shrunk_at - course.killed_at),
        "most images per second that an update learned from": f"{most:.2f}",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"""\
# A run on a cluster that grows and shrinks

![Nodes, workers and images over time](pictures/elastic.svg)

This run uses Ray's real autoscaler (version 2) on one machine with {course.cores} cores. Each node is a set of Ray
processes with logical CPUs of its own. The run trains the editor with the small models:

1. It begins on one node. Its backlog asks for up to {MOST_NODES} Inverse Diffusers, and the head node has room for one.
2. Once {MOST_NODES} nodes are up, all processes of one node are killed at once, as in a spot interruption.
3. When all rollouts are done, the learner takes its last steps and the fleet shrinks.

| what | measured |
|---|---|
{table}

**Throughput does not rise with the nodes here, and cannot:** they share {course.cores} cores. A second Inverse
Diffuser takes its computing time from the first one, and starting one slows down all others. The run shows that workers
can join and leave without losing a group. How throughput grows with real machines has not been measured. An image
counts in the update that learns from it. The last updates are the fastest because their images were made earlier.

`python -m benchmarks.elastic --write` makes this page. `tests/rollout/elastic/test_autoscaling.py` checks the same.
[cluster.md](cluster.md#fleets-that-follow-the-backlog) explains how it works.
"""


def _s(seconds: float) -> str:
    return f"{seconds:.0f} s"


def main(
    preset: Annotated[Path, typer.Option(exists=True)] = REPOSITORY / "presets" / "tiny" / "run.yaml",
    out: Annotated[Path, typer.Option(help="The run's folder; what it holds is deleted.")] = Path("runs/elastic"),
    write: Annotated[bool, typer.Option("--write", help="Make docs/elastic.md and its plot anew.")] = False,
) -> None:
    course = observe(out, preset)
    (out / "course.json").write_text(json.dumps(asdict(course)), encoding="utf-8")
    Console(width=120).print(page(course), markup=False, highlight=False)
    if write:
        _PAGE.write_text(page(course), encoding="utf-8")
        _PLOT.write_text(plot(course.sights, course.images, _marks(course)), encoding="utf-8")
    raise typer.Exit(0 if course.account == Account(UPDATES, 0, 0) else 1)


def _marks(course: Course) -> Sequence[tuple[float, str]]:
    return [(course.trains_at, "training begins"), (course.killed_at, "a node is killed")]


if __name__ == "__main__":
    typer.run(main)
