"""What an update learns from, with first images drawn ahead and without, in every order in which EnvRunners answer."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from presets.data import DataConfig
from presets.images import EditorConfig
from presets.settings import RolloutConfig
from rollout.groups.job import Job
from rollout.groups.sampler import GroupSampler
from rollout.groups.schedule import new_scheduler, saved_scheduler
from rollout.groups.stream import GroupStream
from rollout.prompts import load_prompts
from rollout.scheduling.scheduler import Scheduler
from rollout.trajectory import to_table
from tests.rollout.scripted_models import Lottery

PROMPTS = load_prompts(DataConfig(train_size=50, held_out_size=1), seed=3)
UPDATES = 4


class Answers:
    """RLlib's manager as the stream sees it: calls are answered one at a time, in an order that `order` draws."""

    def __init__(self, runners: int, order: random.Random) -> None:
        self._runners, self._order = list(range(runners)), order
        self._open: list[tuple[int, Any]] = []
        self.jobs: list[Job] = []

    def healthy_actor_ids(self) -> list[int]:
        return self._runners

    def num_actors(self) -> int:
        return len(self._runners)

    def actors(self) -> dict[int, Any]:
        return {runner: SimpleNamespace(apply=SimpleNamespace(remote=lambda _: None)) for runner in self._runners}

    def foreach_actor_async(self, call: Any, *, tag: str, remote_actor_ids: list[int]) -> int:
        assert remote_actor_ids[0] not in [runner for runner, _ in self._open], "it holds a call"
        self._open.append((remote_actor_ids[0], call))
        self.jobs.append(call._job)
        return 1

    def fetch_ready_async_reqs(self, *, tags: str, timeout_seconds: float) -> list[Any]:
        if not self._open or self._order.random() < 0.3:
            return []
        runner, call = self._open.pop(self._order.randrange(len(self._open)))
        answer = call(None)
        return [SimpleNamespace(actor_id=runner, ok=True, get=lambda: answer)]


def rollout(ahead: bool) -> RolloutConfig:
    return RolloutConfig(prompts_per_update=4, group_size=4, turns=1, reward="hard", draw_ahead=ahead)


def sample(_: Any, job: Job) -> Any:
    sampler = GroupSampler(Lottery(threshold=60), rollout(ahead=True), EditorConfig())
    return sampler.draw(job) if job.ahead else to_table(sampler.sample(job))


def stream_of(answers: Answers, ahead: bool, scheduler: Scheduler | None = None) -> GroupStream:
    config = rollout(ahead)
    return GroupStream(answers, scheduler or new_scheduler(config), PROMPTS.at, sample, "run", 5, config)


def update_of(stream: GroupStream, update: int) -> tuple[Any, list[int]]:
    """What an update learns from, and the prompts that carried no signal."""
    for _ in range(2000):
        if stream.ready:
            break
        stream.pump("actor", 99)
    used, dropped = stream.take(update)
    content = [
        (t.prompt, t.group, t.member, t.reward, t.actor_seed, t.edit_seed, t.draw_seed, t.advantage, t.image_after.png)
        for t in used
    ]
    return content, sorted({turn.prompt for turn in dropped})


def learned_from(runners: int, ahead: bool, order: random.Random) -> tuple[list[Any], Answers]:
    answers, found = Answers(runners, order), []
    stream = stream_of(answers, ahead)
    for update in range(UPDATES):
        found.append(update_of(stream, update))
        for _ in range(order.randrange(6)):  # the learner works
            stream.pump("actor", 99)
        stream.trained()
    return found, answers


PLAIN, PLAIN_CALLS = learned_from(1, ahead=False, order=random.Random(0))


@settings(max_examples=12, deadline=None)
@given(runners=st.integers(1, 4), seed=st.integers(0, 2**32))
def test_updates_learn_from_the_same_images_and_drop_the_same_prompts_whoever_draws_them_and_when(runners, seed):
    found, answers = learned_from(runners, True, random.Random(seed))
    assert found == PLAIN
    assert all(
        one.state is not None and not one.state.done for job in answers.jobs if not job.ahead for one in job.prompts
    )


def test_one_runner_needs_fewer_jobs_for_the_same_updates_and_draws_no_image_twice():
    found, answers = learned_from(1, True, random.Random(1))
    assert found == PLAIN
    assert sum(not job.ahead for job in answers.jobs) < len(PLAIN_CALLS.jobs)
    drawn = [one.prompt for job in answers.jobs if job.ahead for one in job.prompts]
    assert len(drawn) == len(set(drawn))


@settings(max_examples=8, deadline=None)
@given(pumps=st.integers(0, 30), seed=st.integers(0, 2**32))
def test_a_run_that_ends_at_any_moment_goes_on_with_the_same_prompts(pumps, seed):
    order = random.Random(seed)
    stream = stream_of(Answers(2, order), ahead=True)
    found = [update_of(stream, 0)[0]]
    stream.trained()
    for _ in range(pumps):
        stream.pump("actor", 99)
    with tempfile.TemporaryDirectory() as folder:
        state = stream.save(Path(folder))
        again = stream_of(Answers(2, order), True, saved_scheduler(state, Path(folder)))
    for update in range(1, UPDATES):
        found.append(update_of(again, update)[0])
        again.trained()
    assert found == [content for content, _ in PLAIN]
