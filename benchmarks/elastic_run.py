"""A training on a cluster that grows and shrinks under it: its settings, what is seen of it, what it learned from."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import ray
from ray._private.state import state

from benchmarks.local_autoscaler import LocalAutoscaler
from experiments.faults.watched_run import WatchedRun
from presets.errors import RunFailed

REPOSITORY = Path(__file__).resolve().parent.parent
UPDATES, PROMPTS, MOST_NODES = 12, 4, 5
# Rollouts run ahead of the learner as far as they may: the backlog is full at first, and empty while the learner takes
# its last steps. The head has room for one worker of each role; each node more has room for one.
SETTINGS = (
    f"stages=[{{stage: editor, updates: {UPDATES}}}]",
    "rollout.turns=1",
    f"rollout.prompts_per_update={PROMPTS}",
    "rollout.group_size=8",
    "rollout.reward=soft",
    f"rollout.max_staleness={UPDATES}",
    "rollout.concurrency=8",
    "rollout.deadline_s=400",
    "rollout.restart_s=60",
    "rollout.max_env_runners=2",
    "diffuser.workers=1",
    "diffuser.steps=8",
    "diffuser.call_deadline_s=120",
    "diffuser.start_deadline_s=900",
    "editor.workers=1",
    f"editor.max_workers={MOST_NODES}",
    "editor.call_deadline_s=120",
    "editor.start_deadline_s=900",
    "elastic.images_per_worker=12",
    "elastic.prompts_per_env_runner=4",
    "elastic.idle_s=10",
    "elastic.drain_s=60",
    "learner.editor.ranks=1",
    "learner.editor.epochs=3",
    "learner.editor.learning_rate=1.0e-6",
    "learner.editor.start_deadline_s=600",
    "learner.editor.deadline_s=300",
    "vlm.actor.start_deadline_s=900",
    "vlm.checker.start_deadline_s=900",
    "evaluation.prompts=0",
    "checkpoint.every=0",
)
# Diffuser, editor and learner have one each; EnvRunners and VLMs share the last, which leaves no room for an editor.
_HEAD_CPUS = 4
_CLASSES = {"diffuser": "Diffuser", "editor": "InverseDiffuser", "env_runner": "ReflectEditRunner"}
_EVERY_S = 0.5


@dataclass(frozen=True)
class Sight:
    """What there was at a moment: `seconds` since the beginning, nodes that are alive, and processes by role."""

    seconds: float
    nodes: int
    workers: dict[str, int]


@dataclass(frozen=True)
class Account:
    """What a finished run learned from. `lost`: prompts that it began and neither trained on nor dropped. `twice`:
    prompts of more than one update. `updates` as there were."""

    updates: int
    lost: int
    twice: int


def new_cluster() -> LocalAutoscaler:
    """One node, up to four more; not started."""
    store = {"object_store_memory": 200 << 20}
    environment = {"PYTHONPATH": str(REPOSITORY)}
    return LocalAutoscaler({"CPU": _HEAD_CPUS, **store}, {"CPU": 1, **store}, MOST_NODES - 1, environment=environment)


def start(cluster: LocalAutoscaler, folder: Path, preset: Path, settings: tuple[str, ...] = ()) -> WatchedRun:
    """A new run in `folder` on the cluster."""
    given = [part for one in (*SETTINGS, *settings, f"ray.address={cluster.address}") for part in ("--set", one)]
    return WatchedRun([str(preset), *given, "--out", str(folder)], folder.with_suffix(".log"))


def alive_nodes() -> list[str]:
    """Ids of the nodes of the cluster that this process has joined."""
    return [node["NodeID"] for node in ray.nodes() if node["Alive"]]


def live_actors() -> list[str]:
    """The classes of all actors of the cluster that are alive, of whichever job, or of none."""
    found = state.actor_table(None, actor_state_name="ALIVE").values()
    return sorted(actor["ActorClassName"].rpartition(".")[2] for actor in found)


def actors(role: str) -> list[dict[str, Any]]:
    """The live actors of a role, as Ray's head knows them."""
    found = state.actor_table(None, actor_state_name="ALIVE").values()
    return [actor for actor in found if actor["ActorClassName"].rpartition(".")[2] == _CLASSES[role]]


def node_of(actor: dict[str, Any]) -> str:
    """Id of the node that an actor is on."""
    return str(actor["Address"]["NodeID"])


def sight(began: float) -> Sight:
    """What there is now."""
    return Sight(time.monotonic() - began, len(alive_nodes()), {role: len(actors(role)) for role in _CLASSES})


def watch(
    run: WatchedRun, until: Callable[[Sight], bool], what: str, deadline_s: float, began: float, seen: list[Sight]
) -> Sight:
    """Look at the cluster until `until`; every sight is added to `seen`.

    Raises:
        RunFailed: the run ended, or `deadline_s` seconds passed, before.
    """
    ends = time.monotonic() + deadline_s
    while True:
        seen.append(sight(began))
        if until(seen[-1]):
            return seen[-1]
        if run.process.poll() is not None:
            raise RunFailed(f"the run ended with exit code {run.process.returncode} before {what}: {run.message}")
        if time.monotonic() > ends:
            raise RunFailed(f"{what} did not happen within {deadline_s:g} s; last seen: {seen[-1]}; see {run.log}")
        time.sleep(_EVERY_S)


def account(folder: Path) -> Account:
    """What the run in `folder` learned from, by its trajectories and the state of its last checkpoint.

    Raises:
        FileNotFoundError: it has no checkpoint.
    """
    trained: Counter[int] = Counter()
    files = sorted((folder / "trajectories").glob("*.parquet"))
    for file in files:
        trained.update(set(pq.read_table(file, columns=["prompt"])["prompt"].to_pylist()))
    last = max((folder / "checkpoints").glob("[0-9]*"), default=None)
    if last is None:
        raise FileNotFoundError(f"{folder / 'checkpoints'} holds no checkpoint; the run has not finished")
    schedule = json.loads((last / "schedule.json").read_text(encoding="utf-8"))
    begun = {number for number, *_ in schedule["unfinished"]} | {number for _, _, number, *_ in schedule["buffered"]}
    return Account(len(files), len(begun - trained.keys()), sum(count > 1 for count in trained.values()))
