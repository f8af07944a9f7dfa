from pathlib import Path

import pytest

from experiments.frontier.rows import Point, Rows, Trace, loop_key, start_key, whole_batches
from presets.errors import BadInput

START = start_key("test", "two", "held_out-1-10", 8)
POINTS = (Point(0.5, 0.0, 0.4, 0.5), Point(1 / 3, 0.0, 0.6, 0.5, 1), Point(1.0, 1.0, 0.9, 1.0, 2))


def test_traces_are_read_back_and_the_last_of_a_key_counts(tmp_path: Path) -> None:
    loop = loop_key(START, 0, "raw", "trained", 4)
    rows = Rows(tmp_path)
    rows.keep([Trace(START, 2, 2, POINTS[:2]), Trace(loop, 2, 3, POINTS), Trace(START, 2, 3, POINTS)])
    again = Rows(tmp_path)
    found = again.find(START, 3)
    assert found is not None
    assert found.points[1].sg_iou == pytest.approx(1 / 3, abs=1e-4)
    assert again.find(loop, 3) == Trace(loop, 2, 3, found.points)
    assert again.prompt_ids("test", "two") == ["held_out-1-10"]
    assert again.prompt_ids("validation", "two") == []


def test_a_trace_that_ended_early_stands_for_longer_ones_and_any_other_does_not(tmp_path: Path) -> None:
    rows = Rows(tmp_path)
    rows.keep([Trace(START, 2, 2, POINTS[:2])])
    assert rows.find(START, 2) is not None
    assert rows.find(START, 3) is None
    rows.keep([Trace(START, 2, 3, POINTS)])
    assert rows.find(START, 50) is not None


def test_the_choice_is_by_requirements_that_hold_then_probability_then_order() -> None:
    points = (Point(0, 0, 0.7, 0.5), Point(0, 0, 0.6, 0.75), Point(0, 0, 0.6, 0.75), Point(0, 0, 0.9, 0.5))
    trace = Trace(START, 4, 4, points)
    assert [trace.choice(count) for count in (1, 2, 3, 4, 9)] == [0, 1, 1, 1, 1]


def test_prompts_are_in_the_order_of_their_set(tmp_path: Path) -> None:
    rows = Rows(tmp_path)
    rows.keep(Trace(start_key("test", "two", f"held_out-1-{k}", 8), 2, 2, POINTS) for k in (10, 9, 100))
    assert rows.prompt_ids("test", "two") == ["held_out-1-9", "held_out-1-10", "held_out-1-100"]


def test_half_a_last_line_is_left_out_and_any_other_broken_one_is_named(tmp_path: Path) -> None:
    Rows(tmp_path).keep([Trace(START, 2, 3, POINTS)])
    file = tmp_path / "traces-test.jsonl"
    whole = file.read_text()
    file.write_text(whole + whole[:40])
    again = Rows(tmp_path)
    assert again.find(START, 3) is not None
    another = START._replace(prompt_id="held_out-1-11")
    again.keep([Trace(another, 2, 3, POINTS)])
    assert file.read_text() == whole + whole.replace("1-10", "1-11")
    file.write_text(whole[:40] + "\n" + whole)
    with pytest.raises(BadInput, match="line 1: is no trace"):
        Rows(tmp_path)


def test_of_a_batch_that_is_not_done_no_prompt_counts() -> None:
    ids = [f"p-{k}" for k in range(40)]
    assert whole_batches(ids, set(ids)) == ids
    assert whole_batches(ids, set(ids) - {"p-39"}) == ids[:32]
    assert whole_batches(ids, set(ids) - {"p-20"}) == ids[:16]
    assert whole_batches(ids, {"p-1", "p-2"}) == []


def test_the_checkers_choice_is_the_same_before_and_after_a_trace_is_read(tmp_path: Path) -> None:
    rows = Rows(tmp_path)
    rows.keep([Trace(START, 4, 2, (Point(0, 0, 0.60001, 0.5), Point(1, 1, 0.60002, 0.5)))])
    choices = [found.choice(2) for one in (rows, Rows(tmp_path)) if (found := one.find(START, 2))]
    assert choices == [0, 0]
