"""EnvRunners that come and go under a stream of groups, with real Ray actors and models that answer by script."""

from __future__ import annotations

import os
import signal
import time
from types import SimpleNamespace

import pytest
import ray
from ray.rllib.utils.actor_manager import FaultTolerantActorManager

from presets.data import DataConfig
from presets.planning.demand import Range
from presets.settings import RolloutConfig
from rollout.elastic.pool import Pool
from rollout.elastic.runners import Runners
from rollout.groups.schedule import new_scheduler
from rollout.groups.stream import GroupStream
from rollout.prompts import load_prompts
from tests.local_cluster import shared_ray, step_until
from tests.rollout.scripted_runner import GatedSampling, Runner

pytestmark = pytest.mark.engines

PROMPTS = load_prompts(DataConfig(train_size=50, held_out_size=1), seed=3)
SETTINGS = RolloutConfig(
    prompts_per_update=4, group_size=4, turns=1, reward="hard", max_attempts=1, max_staleness=1, concurrency=8
)
END_S = 180.0


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with shared_ray():
        yield


@pytest.fixture
def parts(tmp_path):
    remote = {"num_cpus": 0.1, "max_restarts": -1}
    manager = FaultTolerantActorManager(
        [ray.remote(**remote)(Runner).remote()], max_remote_requests_in_flight_per_actor=1, init_id=1
    )
    group = SimpleNamespace(
        _worker_manager=manager, env_runner_cls=Runner, _remote_args=remote, _remote_config_obj_ref=None
    )
    gate = tmp_path / "gate"
    stream = GroupStream(
        manager, new_scheduler(SETTINGS), PROMPTS.at, GatedSampling(SETTINGS, str(gate), END_S), "run", 5, SETTINGS
    )
    notes = []
    times = {"idle_s": 0.0, "drain_s": 2.0, "restart_s": 60.0}
    pool = Pool("env_runner", Range(1, 3, 1, 1), Runners(group, lambda: stream), **times, note=notes.append)
    yield SimpleNamespace(manager=manager, stream=stream, pool=pool, gate=gate, notes=notes)
    pool.close()
    manager.clear()


def go_on(parts, prompts: int, until) -> None:
    def step() -> None:
        parts.stream.pump("actor", 99, 0.05)
        parts.pool.follow(prompts, time.monotonic())

    step_until(until, step, END_S, parts.notes)


def numbers(parts) -> list[int]:
    """Prompts of the next update, those without a signal included."""
    used, dropped = parts.stream.take(0)
    parts.stream.trained()
    return list(dict.fromkeys(turn.prompt for turn in (*used, *dropped)))


def two_updates(parts) -> list[int]:
    """Prompts of both: 6 and 7 have no signal, so that 8 and 9 take their places. Later ones are the third update's."""
    found = []
    for _ in range(2):
        go_on(parts, 1, lambda: parts.stream.ready)
        found += [number for number in numbers(parts) if number < 10]
    return found


def test_an_env_runner_that_joins_gets_prompts_and_one_that_is_drained_finishes_its_own_and_ends(parts):
    parts.gate.touch()
    go_on(parts, 2, lambda: parts.stream.in_flight == 8)
    assert parts.manager.actor_ids() == [1, 2]
    assert parts.stream.in_flight_before(parts.stream.jobs)
    assert not parts.stream.in_flight_before(0)
    go_on(parts, 1, lambda: parts.pool.draining)
    parts.gate.unlink()
    go_on(parts, 1, lambda: parts.manager.actor_ids() == [1])
    assert parts.stream.requeued == 0
    assert sorted(two_updates(parts)) == list(range(10))


def test_prompts_of_one_that_is_ended_at_work_go_to_others_and_no_attempt_of_theirs_has_failed(parts):
    parts.gate.touch()
    go_on(parts, 2, lambda: parts.stream.in_flight == 8)
    go_on(parts, 1, lambda: parts.manager.actor_ids() == [1])
    assert any("at work" in note for note in parts.notes)
    assert parts.stream.requeued == 4
    parts.gate.unlink()
    assert sorted(two_updates(parts)) == list(range(10))  # max_attempts is 1: a failed attempt would end the run


def test_one_that_is_killed_leaves_and_joins_again(parts):
    go_on(parts, 2, lambda: parts.manager.num_actors() == 2)
    go_on(parts, 2, lambda: parts.stream.ready)
    victim = parts.manager.actors()[2]
    os.kill(ray.get(victim.pid.remote(), timeout=END_S), signal.SIGKILL)
    parts.manager.set_actor_state(2, healthy=False)
    go_on(parts, 2, lambda: any("lost" in note for note in parts.notes))
    go_on(parts, 2, lambda: parts.manager.actor_ids() == [1, 3])
    assert parts.manager.actors()[3]._actor_id == victim._actor_id
    numbers(parts)
    go_on(parts, 2, lambda: parts.stream.ready)
    assert len(numbers(parts)) >= 4
