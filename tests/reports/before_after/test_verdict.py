import shutil
from pathlib import Path

import pytest

from reports.before_after.verdict import held_out_score, verdict
from reports.content import BOOTSTRAP
from reports.held_out import write_held_out
from reports.held_out_numbers import held_out_numbers
from reports.run_record import RunRecord, read_run
from tests.reports.synthetic_run import write_run


def told(record: RunRecord):
    return verdict(record, held_out_numbers(record, BOOTSTRAP))


def with_scores(tmp_path: Path, metric: str, before: list[float], after: list[float]) -> RunRecord:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("seed: 1\n")
    summary = {"prompts": len(before)}
    for name, values in (("before", before), ("after", after)):
        scores = {metric: {f"p{k}": value for k, value in enumerate(values)}}
        write_held_out({"loop": scores, "diffuser": scores}, run / "held_out" / f"{name}.parquet")
        summary[name] = {metric: sum(values) / len(values)}
    record = read_run(run)
    record.summary.update(summary)
    return record


def test_a_rise_that_cannot_be_chance_is_called_one(tmp_path: Path) -> None:
    found = told(read_run(write_run(tmp_path / "run")))
    assert found.direction == "up"
    assert found.text.startswith("Training raised SG-IoU from 0.")
    assert "on 24 held-out prompts: +0.0" in found.text
    assert "95 % interval [+0.0" in found.text


def test_what_may_be_chance_is_said_to_be(tmp_path: Path) -> None:
    found = told(with_scores(tmp_path, "sg_iou", [0.5, 0.5, 0.5, 0.5], [0.9, 0.1, 0.6, 0.5]))
    assert found.direction == ""
    assert found.text.endswith("This may be chance.")


def test_a_fall_is_a_fall_and_a_reward_of_one_s_own_is_called_so(tmp_path: Path) -> None:
    found = told(with_scores(tmp_path, "own_reward", [3.0, 4.0, 5.0], [1.0, 2.0, 3.0]))
    assert found.direction == "down"
    assert found.text == (
        "Training lowered the reward of your own, which it trains on, from 4.000 to 2.000 on 3 held-out prompts: "
        "-2.000, 95 % interval [-2.000, -2.000]."
    )


def test_what_is_not_measured_is_not_judged(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    record = read_run(run)
    del record.summary["after"]
    assert told(record).text.endswith("Training is not measured yet.")
    assert held_out_score(record) == ("sg_iou", pytest.approx(record.summary["before"]["sg_iou"]))
    record.summary.clear()
    assert "no held-out evaluation" in told(record).text
    assert held_out_score(record) is None
    shutil.rmtree(run / "held_out")
    assert told(read_run(run)).text.endswith("There is no interval.")


def test_scores_that_are_the_same_are_said_to_be(tmp_path: Path) -> None:
    found = told(with_scores(tmp_path, "sg_iou", [0.5, 0.25], [0.5, 0.25]))
    assert found.text == "Training left SG-IoU at 0.375 on 2 held-out prompts: the score of no prompt changed."
