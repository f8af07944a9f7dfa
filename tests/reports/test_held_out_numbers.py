from dataclasses import replace
from pathlib import Path

import pytest

from reports.held_out_numbers import comparison_numbers, evaluations, held_out_numbers
from reports.intervals import Bootstrap
from reports.run_record import RunRecord, read_run
from tests.reports.synthetic_run import HELD_OUT, METRICS, write_run

QUICK = Bootstrap(resamples=300)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[RunRecord]:
    folder = tmp_path_factory.mktemp("held-out")
    return [read_run(write_run(folder / name, updates=1, seed=seed)) for seed, name in enumerate(("one", "two"))]


def test_evaluations_come_in_the_order_of_time() -> None:
    summary = {"after": {}, "minutes": 3, "after_12": {}, "after_4": {}, "diffuser": {}, "before": {}, "aftermath": {}}
    record = RunRecord("run", Path("."), [], summary, "", {}, {})
    assert list(evaluations(record)) == ["diffuser", "before", "after_4", "after_12", "after"]


def test_a_difference_is_paired_by_prompt_and_narrower_than_the_means_suggest(records: list[RunRecord]) -> None:
    numbers = held_out_numbers(records[0], QUICK)
    found = {(number.metric, number.item): number for number in numbers}
    for metric in METRICS:
        before, after = found[metric, "before"], found[metric, "after"]
        change = found[metric, "after − before"]
        assert change.section == "difference"
        assert change.value == pytest.approx(after.value - before.value)
        assert change.low < change.value < change.high
        assert change.high - change.low < (after.high - after.low) / 2
        assert change.low > 0
        assert {before.interval, after.interval, change.interval} == {"held_out_prompts"}
    assert found["sg_iou", "diffuser"].low is not None


def test_without_scores_of_prompts_there_are_means_and_no_intervals(records: list[RunRecord]) -> None:
    numbers = held_out_numbers(replace(records[0], held_out={}), QUICK)
    assert len(numbers) == 4 * len(METRICS)
    assert all(number.low is None and number.interval is None for number in numbers)
    assert held_out_numbers(replace(records[0], summary={}), QUICK) == []


def test_a_score_that_is_missing_for_a_prompt_leaves_the_difference_without_interval(records: list[RunRecord]) -> None:
    loop = records[0].held_out["after"]["loop"]
    fewer = {**loop, "sg_iou": {key: value for key, value in loop["sg_iou"].items() if key != "held-out-0"}}
    held_out = {**records[0].held_out, "after": {"loop": fewer}}
    numbers = held_out_numbers(replace(records[0], held_out=held_out), QUICK)
    changes = {number.metric: number for number in numbers if number.section == "difference"}
    assert changes["sg_iou"].low is None
    assert changes["satisfied"].low is not None
    assert len(loop["sg_iou"]) == HELD_OUT


def test_runs_are_compared_on_the_same_prompts_and_only_in_metrics_that_both_have(records: list[RunRecord]) -> None:
    numbers = comparison_numbers(records, QUICK)
    assert {(number.run, number.item) for number in numbers} == {("two", "after − one: after")}
    by_metric = {number.metric: number for number in numbers}
    expected = records[1].summary["after"]["sg_iou"] - records[0].summary["after"]["sg_iou"]
    assert by_metric["sg_iou"].value == pytest.approx(expected)
    assert by_metric["sg_iou"].low < expected < by_metric["sg_iou"].high
    other = replace(records[1], summary={"after": {"sg_iou": 0.5, "judge_score": 0.9}}, held_out={})
    (only,) = comparison_numbers([records[0], other], QUICK)
    assert (only.metric, only.low) == ("sg_iou", None)
    assert comparison_numbers([records[0], replace(other, summary={})], QUICK) == []
