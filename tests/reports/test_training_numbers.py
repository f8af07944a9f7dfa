import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from reports.fault_numbers import fault_numbers
from reports.intervals import Bootstrap
from reports.number import INTERVALS, Number
from reports.run_record import RunRecord, read_run
from reports.training_numbers import MEANS, time_numbers, training_numbers, values_of
from tests.reports.synthetic_run import write_run

QUICK = Bootstrap(resamples=300)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    return read_run(write_run(tmp_path_factory.mktemp("numbers") / "run", updates=6, prompts=4))


def of(numbers: list[Number], metric: str) -> list[Number]:
    return [number for number in numbers if number.metric == metric]


def test_means_have_the_value_of_the_metrics_file_and_an_interval_over_prompts(record: RunRecord) -> None:
    numbers = training_numbers(record, QUICK)
    for metric in ("reward_mean", "reward_std", "truth_mean", "gap", "unparsable_share"):
        ours = of(numbers, metric)
        assert [number.update for number in ours] == list(range(12))
        assert [number.value for number in ours] == [values_of(line)[metric] for line in record.lines]
        assert {number.interval for number in ours} == {"prompts"}
        assert all(number.low - 1e-9 <= number.value <= number.high + 1e-9 for number in ours)
    assert [number.policy for number in of(numbers, "gap")] == ["actor"] * 6 + ["editor"] * 6
    assert all(number.interval is None for number in of(numbers, "groups") + of(numbers, "logprob_mismatch"))
    assert {number.interval for number in numbers} <= {None, *INTERVALS}


def test_an_interval_over_prompts_is_as_wide_as_the_prompts_differ(record: RunRecord) -> None:
    sums = record.sums[0]
    alike = {prompt: (0.4 * n, n) for prompt, (_, n) in sums.sums["reward_mean"].items()}
    even = replace(record, sums={0: replace(sums, sums={"reward_mean": alike})})
    first = of(training_numbers(even, QUICK), "reward_mean")[0]
    assert (first.low, first.high) == pytest.approx((0.4, 0.4))
    apart = {prompt: (float(place % 2) * n, n) for place, (prompt, (_, n)) in enumerate(alike.items())}
    odd = replace(record, sums={0: replace(sums, sums={"reward_mean": apart})})
    first, second = of(training_numbers(odd, QUICK), "reward_mean")[:2]
    assert first.high - first.low >= 0.5
    assert (second.low, second.interval) == (None, None)  # an update whose trajectories are missing


def test_without_trajectories_the_interval_is_that_of_a_moving_window_of_one_policy(record: RunRecord) -> None:
    bare = replace(record, sums={})
    rewards = of(training_numbers(bare, QUICK), "reward_mean")
    assert {number.interval for number in rewards} == {"window"}
    window = np.array([number.value for number in rewards[:5]])
    half = stats.t.ppf(0.975, 4) * stats.sem(window)
    assert (rewards[2].low, rewards[2].high) == pytest.approx((window.mean() - half, window.mean() + half))
    edge = np.array([number.value for number in rewards[3:6]])  # the Actor's last update; the editor's are left out
    assert (rewards[5].low + rewards[5].high) / 2 == pytest.approx(edge.mean())


def test_a_run_of_two_updates_has_no_window() -> None:
    lines = [{"update": k, "stage": "actor", "reward_mean": 0.5} for k in range(2)]
    record = RunRecord("run", Path("."), lines, {}, "", {}, {})
    assert [(n.metric, n.low) for n in training_numbers(record, QUICK)] == [("reward_mean", None)] * 2


def test_values_that_are_no_finite_numbers_are_left_out() -> None:
    line = {"reward_mean": float("nan"), "truth_mean": 0.5, "groups": None, "staleness": {"max": 1.0}, "turns": 0}
    assert values_of(line) == {"truth_mean": 0.5, "staleness_max": 1.0}
    assert "gap" in MEANS


def test_seconds_add_up(record: RunRecord) -> None:
    numbers = time_numbers(record, QUICK)
    totals = {number.item: number.value for number in of(numbers, "seconds_total")}
    assert totals["learn"] == pytest.approx(48.0)
    assert totals["update"] == pytest.approx(12 * 13.0)
    assert sum(number.value for number in of(numbers, "share")) == pytest.approx(1.0)
    edit = next(number for number in of(numbers, "seconds_mean") if number.item == "edit")
    assert edit.low < edit.value < edit.high
    assert edit.interval == "updates"
    assert time_numbers(replace(record, lines=[{"update": 0}]), QUICK) == []


def test_a_run_without_truth_of_prompts_gets_a_window_for_it_and_keeps_prompts_for_the_reward(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", updates=3)
    record = read_run(run)
    for line in record.lines:
        del line["truth_by_prompt"]
    numbers = training_numbers(record, QUICK)
    assert {number.interval for number in of(numbers, "truth_mean") + of(numbers, "gap")} == {"window"}
    assert {number.interval for number in of(numbers, "reward_mean")} == {"prompts"}
    shutil.rmtree(run)


def test_scorers_have_numbers_of_their_own_and_what_they_did_not_give_is_a_fault(record: RunRecord) -> None:
    tables = {"reward_values": {"checker": 0.5, "length": -0.2}, "reward_missing": {"checker": 0, "length": 3}}
    told = replace(record, lines=[line | tables for line in record.lines])
    assert [number.value for number in of(training_numbers(told, QUICK), "reward_values.length")] == [-0.2] * 12
    (whole,) = [n for n in fault_numbers(told) if (n.metric, n.item, n.update) == ("without_value", "length", None)]
    assert whole.value == 36
    assert not [n for n in fault_numbers(told) if n.item == "checker"]
