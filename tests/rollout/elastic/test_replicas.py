"""Replicas that hold real weights, of a few numbers, as the workers of a pool."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
import torch

from actors.fleet import Fleet
from actors.replica import Replica
from presets.planning.demand import Range
from rollout.elastic.pool import Pool
from rollout.elastic.replicas import Replicas
from tests.local_cluster import shared_ray, step_until
from weights.board import WeightBoard, latest_weights
from weights.holder import WeightHolder
from weights.manifest import WeightMismatch, WeightUpdate, publish
from weights.manifest import pack as packed

pytestmark = [pytest.mark.engines, pytest.mark.long]

END_S = 120.0


class Editor(Replica):
    """Takes as long to load as `gate` does to be there, and has read the board before."""

    def __init__(self, replica: str, board: str, gate: str) -> None:
        self.replica = replica
        self._weights = WeightHolder(replica, "editor", {"w": torch.zeros(4)})
        newest = latest_weights(board, "editor", END_S)
        while replica != "Editor-0" and not Path(gate).exists():
            time.sleep(0.05)
        if newest is not None:
            self.apply_weights(newest)

    def receipt(self):
        return self._weights.receipt

    def version(self) -> int:
        return self._weights.receipt.version

    def versions(self, rows: list[int]) -> list[int]:
        return [self.version() for _ in rows]

    def apply_weights(self, update: WeightUpdate):
        if self.replica == "Editor-1" and update.manifest.version == 13:
            raise WeightMismatch("13 is refused")
        return self._weights.load(update.manifest, self._weights.check(update))

    def pid(self) -> int:
        return os.getpid()


def version(number: int) -> WeightUpdate:
    return publish(packed("editor", number, {"w": torch.full((4,), float(number))}))


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with shared_ray():
        yield


class Jobs:
    """What replicas ask the stream of groups."""

    def __init__(self) -> None:
        self.jobs, self.oldest = 0, None

    def in_flight_before(self, job: int) -> bool:
        return self.oldest is not None and self.oldest < job


@pytest.fixture
def parts(tmp_path):
    board = WeightBoard(END_S)
    options = {"num_cpus": 0, "max_restarts": -1, "max_concurrency": 2}
    gate = tmp_path / "gate"
    fleet = Fleet.start(Editor, 1, options, END_S, restart_s=60.0, board=board.name, gate=str(gate))
    jobs, notes = Jobs(), []
    replicas = Replicas(fleet, lambda: jobs, "editor", board)
    times = {"idle_s": 0.0, "drain_s": 3.0, "restart_s": 60.0}
    pool = Pool("editor", Range(1, 3, 1, 1), replicas, **times, note=notes.append)
    yield SimpleNamespace(board=board, gate=gate, fleet=fleet, jobs=jobs, pool=pool, notes=notes)
    pool.close()
    fleet.close()
    board.close()


def follow(parts, prompts: int, until) -> None:
    def step() -> None:
        parts.pool.follow(prompts, time.monotonic())
        time.sleep(0.05)

    step_until(until, step, END_S, parts.notes)


def test_a_replica_that_read_old_weights_has_the_newest_before_it_joins(parts):
    parts.board.publish(version(1))
    parts.fleet.apply_weights(version(1))
    parts.pool.follow(2, time.monotonic())
    time.sleep(4.0)  # it has read version 1 and still loads
    parts.board.publish(version(2))
    assert [receipt.version for receipt in parts.fleet.apply_weights(version(2))] == [2]
    assert parts.fleet.names == ["Editor-0"]
    parts.gate.touch()
    follow(parts, 2, lambda: len(parts.fleet) == 2)
    assert parts.fleet.split_call("versions", [[0, 0]]) == [2, 2]
    assert {r.version for r in parts.fleet.apply_weights(version(3))} == {3}


def test_a_replica_that_refuses_the_newest_weights_never_joins(parts):
    parts.board.publish(version(12))
    parts.pool.follow(2, time.monotonic())
    time.sleep(4.0)
    parts.board.publish(version(13))
    parts.gate.touch()
    follow(parts, 2, lambda: any("will not come" in note for note in parts.notes))
    assert any("13 is refused" in note for note in parts.notes)
    assert parts.fleet.names == ["Editor-0"]


def test_a_drained_replica_ends_when_no_job_that_was_sent_before_is_in_flight(parts):
    parts.gate.touch()
    for count in (2, 3):  # one after the other, so that it is known who joins last
        follow(parts, count, lambda count=count: len(parts.fleet) == count)
    parts.jobs.jobs, parts.jobs.oldest = 5, 4
    handle = parts.fleet.handles["Editor-2"]
    follow(parts, 2, lambda: parts.pool.draining)
    assert (parts.fleet.names, parts.pool.draining) == (["Editor-0", "Editor-1"], ["Editor-2"])
    parts.pool.follow(2, time.monotonic())
    assert ray.get(handle.version.remote(), timeout=END_S) == 0  # whoever sent before can still call it
    parts.jobs.jobs, parts.jobs.oldest = 7, 5
    follow(parts, 2, lambda: not parts.pool.draining)
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(handle.version.remote(), timeout=END_S)


def test_one_that_is_killed_without_a_call_of_the_driver_leaves_and_joins_again_with_the_newest_weights(parts):
    parts.gate.touch()
    follow(parts, 2, lambda: len(parts.fleet) == 2)
    os.kill(ray.get(parts.fleet.handles["Editor-1"].pid.remote(), timeout=END_S), signal.SIGKILL)
    follow(parts, 2, lambda: any("lost" in note for note in parts.notes))
    parts.board.publish(version(4))
    parts.fleet.apply_weights(version(4))
    follow(parts, 2, lambda: len(parts.fleet) == 2)
    assert parts.fleet.names == ["Editor-0", "Editor-1"]
    assert parts.fleet.split_call("versions", [[0, 0]]) == [4, 4]
    assert parts.fleet.replaced == 1
