"""Whole runs on a cluster that Ray's real autoscaler makes larger and smaller under them."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
import ray

from benchmarks import elastic_run
from benchmarks.elastic_run import MOST_NODES, PROMPTS, UPDATES, Account, actors, node_of, watch
from tests.local_cluster import eventually
from tests.places import PRESET

pytestmark = [pytest.mark.engines, pytest.mark.long]

START_S, GROWN_S, STEP_S, GONE_S = 1200.0, 600.0, 600.0, 120.0


@pytest.fixture(scope="module")
def cluster():
    with elastic_run.new_cluster() as found:
        ray.init(address=found.address, log_to_driver=False)
        yield found
        ray.shutdown()


def updates_of(run) -> int:
    return sum(event["event"] == "update" for _, event in run.events)


def nothing_is_left() -> None:
    eventually("actors of any job and of none", elastic_run.live_actors, [], GONE_S)
    eventually("nodes", lambda: len(elastic_run.alive_nodes()), 1, GONE_S)


def test_a_run_grows_to_five_nodes_loses_one_without_warning_and_shrinks_while_it_trains(cluster, tmp_path: Path):
    began, seen = time.monotonic(), []
    with elastic_run.start(cluster, tmp_path / "run", PRESET) as run:
        run.wait_for(lambda e: e == {**e, "event": "begin", "phase": "rollout"}, "the first rollout", START_S)
        assert len(elastic_run.alive_nodes()) == 1
        grown = lambda now: now.nodes == MOST_NODES and now.workers["editor"] == MOST_NODES  # noqa: E731
        watch(run, grown, "five nodes with an editor each", GROWN_S, began, seen)
        head = ray.get_runtime_context().get_node_id()
        victim = next(node_of(actor) for actor in actors("editor") if node_of(actor) != head)
        done = updates_of(run)
        cluster.kill_node(victim)
        watch(run, lambda _: updates_of(run) > done, "an update after the loss", STEP_S, began, seen)
        watch(run, lambda now: now.nodes == 1, "one node while it trains", STEP_S, began, seen)
        assert updates_of(run) < UPDATES
        assert run.wait(STEP_S) == 0, run.message
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["groups"] for line in lines] == [PROMPTS] * UPDATES
    assert max(line["workers"]["editor"] for line in lines) > 1
    assert lines[-1]["editor_version"] == UPDATES
    for line in lines:
        assert all(one["digest"] == line["weights"]["digest"] for one in line["weights"]["replicas"].values())
    assert elastic_run.account(tmp_path / "run") == Account(UPDATES, lost=0, twice=0)
    nothing_is_left()


def test_of_a_run_whose_driver_is_killed_nothing_is_left_and_its_nodes_go(cluster, tmp_path: Path):
    began, seen = time.monotonic(), []
    with elastic_run.start(cluster, tmp_path / "run", PRESET) as run:
        run.wait_for(lambda e: e == {**e, "event": "begin", "phase": "rollout"}, "the first rollout", START_S)
        watch(run, lambda now: now.nodes >= 3, "more nodes", GROWN_S, began, seen)
        assert {"_Keeper", "ServeController", "InverseDiffuser"} <= set(elastic_run.live_actors())
        run.process.send_signal(signal.SIGKILL)
        run.process.wait(timeout=GONE_S)
        nothing_is_left()
