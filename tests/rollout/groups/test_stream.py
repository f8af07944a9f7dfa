"""The stream with real Ray actors under RLlib's manager, and models that answer by script."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
import ray
from ray.rllib.utils.actor_manager import FaultTolerantActorManager

from presets.data import DataConfig
from presets.errors import RunFailed
from presets.settings import RolloutConfig
from rewards.scales import Scales
from rollout.groups.schedule import new_scheduler, saved_scheduler
from rollout.groups.stream import GroupStream
from rollout.prompts import load_prompts
from tests.local_cluster import shared_ray
from tests.rollout.scripted_runner import Runner, Sampling

pytestmark = pytest.mark.engines

PROMPTS = load_prompts(DataConfig(train_size=50, held_out_size=1), seed=3)
END_S = 180.0


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with shared_ray():
        yield


def settings_with(**settings) -> RolloutConfig:
    return RolloutConfig(
        **{"prompts_per_update": 4, "group_size": 4, "turns": 1, "reward": "hard", "draw_ahead": True} | settings
    )


def stream_of(runners: int, settings: RolloutConfig, scheduler=None, **sampling) -> GroupStream:
    actors = [ray.remote(Runner).options(num_cpus=0.1, max_restarts=-1).remote() for _ in range(runners)]
    manager = FaultTolerantActorManager(actors, max_remote_requests_in_flight_per_actor=1)
    return GroupStream(
        manager, scheduler or new_scheduler(settings), PROMPTS.at, Sampling(settings, **sampling), "run", 5, settings
    )


def collect(stream: GroupStream, update: int, horizon: int = 99, stage: str = "actor"):
    ends = time.monotonic() + END_S
    while not stream.ready:
        assert time.monotonic() < ends, "the stream does not go on"
        stream.pump(stage, horizon, 0.05)
    used, dropped = stream.take(update)
    return used, dropped


def content(turns):
    return [(t.prompt, t.group, t.member, t.reward, t.edit_seed, t.started, t.update) for t in turns]


def test_without_staleness_an_update_learns_from_the_same_turns_however_many_runners_there_are_and_however_slow():
    seen = []
    for runners, wait_s, ahead in ((1, 0.0, False), (3, 0.3, True)):
        stream = stream_of(runners, settings_with(draw_ahead=ahead), wait_s=wait_s)
        updates = []
        for update in range(3):
            used, _ = collect(stream, update)
            stream.trained()
            updates.append(content(used))
        seen.append(updates)
    assert seen[0] == seen[1]
    numbers = [turn[0] for update in seen[0] for turn in update]
    assert numbers == sorted(numbers)
    assert all(started == update for turns in seen[0] for *_, started, update in turns)


def test_a_learner_can_begin_on_the_first_groups_while_others_are_sampled():
    settings = settings_with(drop_equal_groups=False)
    stream = stream_of(2, settings, slow=3)
    begun, ends = [], time.monotonic() + END_S
    while not stream.ready:
        assert time.monotonic() < ends, "the stream does not go on"
        stream.pump("actor", 99, 0.05)
        begun.append(stream.settled())
    early = [turn for turns in begun[:-1] for turn in turns]
    assert {turn.prompt for turn in early} >= {0}
    assert 3 not in {turn.prompt for turn in early}
    used, _ = stream.take(0)
    told = [turn for turns in begun for turn in turns]
    assert [(t.group, t.member) for t in told] == [(t.group, t.member) for t in used][: len(told)]


def test_with_staleness_rollouts_go_on_during_an_update_and_none_is_older_than_allowed():
    stream = stream_of(2, settings_with(max_staleness=1))
    ages = []
    for update in range(4):
        used, _ = collect(stream, update)
        ends = time.monotonic() + 0.5
        while time.monotonic() < ends:  # the learner is at work
            stream.pump("actor", 99, 0.05)
        ages += [turn.update - turn.started for turn in used]
        stream.trained()
    assert set(ages) == {0, 1}


def test_nothing_is_sampled_for_updates_that_train_another_policy():
    stream = stream_of(1, settings_with(max_staleness=2))
    used, _ = collect(stream, 0, horizon=1)
    for _ in range(5):
        stream.pump("actor", 1, 0.05)
    stream.trained()
    after, _ = collect(stream, 1, horizon=3, stage="editor")
    assert {turn.stage for turn in used} == {"actor"}
    assert {turn.stage for turn in after} == {"editor"}


@pytest.mark.parametrize("how", [pytest.param(signal.SIGKILL, marks=pytest.mark.long), signal.SIGSTOP])
def test_prompts_of_a_runner_that_dies_or_hangs_are_sampled_anew_and_none_twice(how):
    settings = settings_with(deadline_s=10.0)
    stream = stream_of(2, settings, wait_s=0.4)
    undisturbed = stream_of(2, settings)
    pids = [result.get() for result in stream._runners.foreach_actor(lambda runner: runner.pid())]
    stream.pump("actor", 99)
    os.kill(pids[0], how)
    for update in range(3):
        used, _ = collect(stream, update)
        expected, _ = collect(undisturbed, update)
        assert content(used) == content(expected)
        stream.trained()
        undisturbed.trained()
    assert stream.restarts == 1
    assert 1 <= stream.requeued <= 4
    ends = time.monotonic() + END_S
    while len(stream._runners.healthy_actor_ids()) < 2:
        assert time.monotonic() < ends, "the runner does not come back"
        stream.pump("actor", 99, 0.2)


def test_runners_that_rllib_finds_unhealthy_by_another_call_lose_their_prompts_and_no_attempt_has_failed():
    settings = settings_with(max_attempts=1, concurrency=2)
    stream, undisturbed = stream_of(2, settings, wait_s=0.4), stream_of(2, settings)
    ends = time.monotonic() + END_S
    while stream.in_flight < 2:
        assert time.monotonic() < ends, "no job is sent"
        stream.pump("actor", 99, 0.01)
    for runner in stream._runners.actor_ids():  # RLlib forgets what they hold
        stream._runners.set_actor_state(runner, healthy=False)
    used, _ = collect(stream, 0)
    assert content(used) == content(collect(undisturbed, 0)[0])
    assert (stream.restarts, stream.requeued) == (2, 2)
    for runner in stream._runners.actor_ids():  # this time without a job
        stream._runners.set_actor_state(runner, healthy=False)
    stream.trained()
    assert collect(stream, 1)[0]
    assert (stream.restarts, stream.requeued) == (4, 2)


def test_a_prompt_that_fails_again_and_again_ends_the_run_with_its_number_and_the_error():
    stream = stream_of(1, settings_with(max_attempts=2), broken=2)
    with pytest.raises(RunFailed, match=r"failed 2 times .*process \d+ on node .*, log .*the canvas tore"):
        collect(stream, 0)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_runner_whose_jobs_fail_twice_in_a_row_samples_in_a_new_process(tmp_path, concurrency):
    settings = settings_with(max_attempts=3, concurrency=concurrency)
    stream, undisturbed = stream_of(1, settings, sick=tmp_path / "pid"), stream_of(1, settings)
    for update in range(2):
        assert content(collect(stream, update)[0]) == content(collect(undisturbed, update)[0])
        stream.trained()
        undisturbed.trained()
    assert (stream.restarts, stream.requeued) == (1, 2 * concurrency)


def test_a_runner_whose_jobs_fail_now_and_then_stays():
    stream = stream_of(1, settings_with(concurrency=1), flaky=True)
    assert collect(stream, 0)[0]
    assert stream.requeued >= 4
    assert stream.restarts == 0


def test_a_runner_that_ends_is_named_with_its_process_its_log_and_a_remedy():
    stream = stream_of(1, settings_with(max_attempts=1), wait_s=0.4)
    (result,) = stream._runners.foreach_actor(lambda runner: runner.pid())
    stream.pump("actor", 99, 0.05)
    os.kill(result.get(), signal.SIGKILL)
    with pytest.raises(RunFailed, match=rf"process {result.get()} on node .*, log .*ended without a word.*dmesg"):
        collect(stream, 0)


def test_a_runner_that_is_ended_for_being_late_is_named_with_the_prompt_and_the_deadline():
    stream = stream_of(1, settings_with(max_attempts=1, deadline_s=1.0, concurrency=1), slow=0)
    stream._runners.foreach_actor(lambda runner: runner.pid())  # it has started
    with pytest.raises(RunFailed, match=r"process \d+ on node .* held prompt 0 for more than rollout.deadline_s = 1"):
        collect(stream, 0)


def test_prompts_without_a_signal_end_the_run_after_as_many_tries_as_it_allows():
    settings = settings_with(max_tries=2)
    stream = stream_of(1, settings)
    stream._sample.settings = settings.model_copy(update={"turns": 0})
    with pytest.raises(RunFailed, match=r"8 prompts in a row .*max_tries = 2"):
        collect(stream, 0)


def test_a_saved_stream_goes_on_with_the_groups_that_were_complete(tmp_path):
    settings = settings_with(max_staleness=1, concurrency=3)
    stream = stream_of(1, settings)
    used, dropped = collect(stream, 0)
    stream.trained()
    while len(stream._scheduler.buffered()) < 3:
        stream.pump("actor", 99, 0.05)
    state = stream.save(tmp_path)
    assert len(list(tmp_path.glob("*.parquet"))) == len(stream._scheduler.buffered())
    values = [turn.reward_parts[0].value for turn in used + dropped if turn.reward_parts]
    assert Scales(state["scales"]).of("actor")["checker"] == pytest.approx((np.mean(values), np.std(values)))
    again = stream_of(2, settings, saved_scheduler(state, tmp_path))
    rest = [turn for update in (1, 2) for turn in _update(again, update)]
    numbers = {turn.prompt for turn in used} | {turn.prompt for turn in rest}
    assert {turn.prompt for turn in used}.isdisjoint(turn.prompt for turn in rest)
    assert len(numbers) == 12


def _update(stream: GroupStream, update: int):
    used, _ = collect(stream, update)
    stream.trained()
    return used
