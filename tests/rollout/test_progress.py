import io
import json
import time

import pytest
from rich.console import Console

from rollout.progress import JsonProgress, LineProgress, Progress, RichProgress, make_progress
from rollout.progress_tables import clock_text, held_out_columns, held_out_rows


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


def test_json_lines_can_be_read_by_a_script() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = JsonProgress(stream, clock)
    progress.start("run", [("actor", 1)])
    with progress.phase("edit"):
        clock.now += 1.5
    progress.update(metrics(0, "actor", seconds={"edit": 1.5}))
    with progress.phase("checkpoint"):
        progress.note("a worker was replaced")
    progress.finish({"before": {"sg_iou": 0.4}})
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event["event"] for event in events] == [
        *("start", "begin", "phase", "update"),
        *("begin", "note", "phase", "finish"),
    ]
    assert events[0]["plan"] == [{"stage": "actor", "updates": 1}]
    assert events[1]["phase"] == events[2]["phase"] == "edit"
    assert (events[1]["done"], events[4]["done"]) == (0, 1)
    assert events[2]["seconds"] == 1.5
    assert events[3]["reward_mean"] == 0.5
    assert events[3]["seconds_left"] == 0.0


def test_lines_say_how_far_reward_phases_and_time_left() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = LineProgress(Console(file=stream, width=200), clock)
    progress.start("tiny", [("actor", 2)])
    clock.now += 10
    progress.update(metrics(0, "actor", seconds={"edit": 8.0, "learn": 2.0}))
    text = stream.getvalue()
    assert "run tiny: actor (2 updates)" in text
    assert "update 1/2  actor  reward 0.500 ± 0.250  edit 8.0  learn 2.0  left 0:10" in text


def test_live_display_shows_stages_updates_and_the_open_phases() -> None:
    clock, stream = Clock(), io.StringIO()
    console = Console(file=stream, width=120, force_terminal=True)
    progress = RichProgress(console, clock)
    progress.start("tiny", [("actor", 2), ("editor", 2)])
    clock.now += 61
    progress.update(metrics(0, "actor", seconds={"edit": 8.0}, logprob_mismatch=2e-5))
    with progress, progress.phase("collect"), progress.phase("edit"):
        console.print(progress.render())
        progress.note("[not markup]")
    text = stream.getvalue()
    for expected in ("tiny", "elapsed 1:01", "left 3:03", "1/2", "0/2", "0.500", "2.0e-05", "collect › edit"):
        assert expected in text
    assert "[not markup]" in text


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with make_progress(quiet=True) as progress:
        progress.start("run", [("actor", 1)])
        progress.update(metrics(0, "actor"))
        progress.note("note")
        progress.finish({})
    assert capsys.readouterr().out == ""


def test_display_follows_where_output_goes() -> None:
    assert type(make_progress(as_json=True)) is JsonProgress
    assert type(make_progress(console=Console(file=io.StringIO()))) is LineProgress
    assert type(make_progress(console=Console(file=io.StringIO(), force_terminal=True))) is RichProgress


@pytest.mark.parametrize(("seconds", "text"), [(None, "–"), (0, "0:00"), (65, "1:05"), (3725, "1:02:05")])
def test_clock_text(seconds: float | None, text: str) -> None:
    assert clock_text(seconds) == text


def test_held_out_rows_compare_first_and_last_evaluation() -> None:
    summary = {
        "run": "x",
        "before": {"sg_iou": 0.4, "gone": 1.0},
        "after_actor": {"sg_iou": 0.5},
        "after": {"sg_iou": 0.6},
    }
    columns = held_out_columns(summary)
    assert list(columns) == ["before", "after actor", "after"]
    rows = held_out_rows(columns)
    assert rows[0][:2] == ("SG-IoU", [0.4, 0.5, 0.6])
    assert rows[0][2] == pytest.approx(0.2)
    assert rows[1] == ("gone", [1.0, None, None], None)
