import time

import pytest

from rollout.progress import Progress


class Clock:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def metrics(update: int, stage: str, **more: object) -> dict[str, object]:
    return {"update": update, "stage": stage, "reward_mean": 0.5, "reward_std": 0.25, "groups": 4, **more}


def test_inner_phases_are_not_counted_twice() -> None:
    clock = Clock()
    progress = Progress(clock)
    with progress.phase("collect"):
        clock.now += 2
        with progress.phase("edit"):
            clock.now += 5
        clock.now += 1
    with progress.phase("learn"):
        clock.now += 4
    assert progress.seconds_by_phase() == {"collect": 3.0, "edit": 5.0, "learn": 4.0}
    progress.update(metrics(0, "actor"))
    assert progress.seconds_by_phase() == {}
    assert progress.total_seconds_by_phase() == {"collect": 3.0, "edit": 5.0, "learn": 4.0}


def test_a_phase_that_is_still_open_counts_and_an_error_ends_it() -> None:
    clock = Clock()
    progress = Progress(clock)

    def fail() -> None:
        with progress.phase("edit"):
            clock.now += 2
            assert progress.seconds_by_phase() == {"edit": 2.0}
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    clock.now += 9
    assert progress.seconds_by_phase() == {"edit": 2.0}


def test_time_left_follows_the_stage_of_the_updates_that_are_left() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.start("run", [("actor", 2), ("editor", 3)])
    assert progress.seconds_left() is None
    progress.begin_updates()
    for update, seconds in enumerate((10, 10)):
        clock.now += seconds
        progress.update(metrics(update, "actor"))
    assert progress.seconds_left() == 30.0
    clock.now += 40
    progress.update(metrics(2, "editor"))
    assert progress.seconds_left() == 80.0
    assert [progress.done(0), progress.done(1)] == [2, 1]


def test_the_time_left_of_a_plan_of_many_stages_is_there_at_once() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.start("run", [("actor", 3), ("editor", 3)] * 10_000, done=4)
    for stage, seconds in (("editor", 2), ("editor", 2), ("actor", 5)):
        clock.now += seconds
        progress.update(metrics(0, stage))
    began = time.monotonic()
    assert progress.seconds_left() == (30_000 - 4) * 5.0 + (30_000 - 3) * 2.0
    assert time.monotonic() - began < 2.0
    assert [progress.done(position) for position in range(4)] == [3, 3, 1, 0]


def test_start_up_is_not_part_of_the_first_update() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.start("run", [("actor", 2)])
    with progress.phase("start vLLM"):
        clock.now += 100
    progress.begin_updates()
    clock.now += 5
    progress.update(metrics(0, "actor"))
    assert progress.seconds_left() == 5.0


def test_a_resumed_run_counts_what_was_done_before() -> None:
    progress = Progress(Clock())
    progress.start("run", [("actor", 2), ("editor", 3)], done=3)
    assert [progress.done(0), progress.done(1)] == [2, 1]
