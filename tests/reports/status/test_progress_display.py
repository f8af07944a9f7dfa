import io
import json

import pytest
from rich.console import Console

from reports.status.progress_display import JsonProgress, LineProgress, RichProgress, make_progress
from tests.rollout.test_progress import Clock, metrics


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
