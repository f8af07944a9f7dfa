from dataclasses import replace

from reports.drawing.curves import GAP, TRAINING, bands_text, curves, time_chart, training_plans
from reports.number import INTERVALS, Number


def reward(
    run: str, update: int, value: float, interval: str | None = "prompts", metric: str = "reward_mean"
) -> Number:
    ends = (None, None) if interval is None else (value - 0.1, value + 0.1)
    return Number(run, "training", metric, value, *ends, interval, update=update, policy="actor")


def test_one_run_has_its_metrics_in_one_chart() -> None:
    numbers = [reward("a", 0, 0.5), reward("a", 0, 0.4, "window", "truth_mean")]
    (chart,) = curves(TRAINING, numbers, ["a"])
    assert chart.legend == chart.columns == ["reward", "ground truth (exact)"]
    assert chart.rows == [(0, numbers)]
    assert chart.bands == f"Bands: {INTERVALS['prompts']} (reward); {INTERVALS['window']} (ground truth (exact))."


def test_several_runs_lie_over_each_other_in_a_chart_for_each_metric() -> None:
    numbers = [reward("a", 0, 0.5), reward("a", 1, 0.6), reward("b", 1, 0.7), reward("b", 2, 0.8)]
    numbers.append(reward("b", 1, 0.4, metric="truth_mean"))
    rewards, truth = curves(TRAINING, numbers, ["a", "b"])
    assert (rewards.title, rewards.legend) == ("Reward: reward", ["a", "b"])
    assert [update for update, _ in rewards.rows] == [0, 1, 2]
    assert [[n and n.value for n in row] for _, row in rewards.rows] == [[0.5, None], [0.6, 0.7], [None, 0.8]]
    assert rewards.svg.count('<polyline class="s0"') == rewards.svg.count('<polyline class="s1"') == 1
    assert truth.columns == ["b"]
    assert 'class="s0"' not in truth.svg  # a run keeps its colour where another has no value
    assert 'class="s1"' in truth.svg


def test_a_metric_that_is_zero_throughout_is_left_out_where_that_says_nothing() -> None:
    assert curves(TRAINING, [reward("a", 0, 0.0, None, "staleness_max")], ["a"]) == []
    assert len(curves(TRAINING, [reward("a", 0, 1.0, None, "staleness_max")], ["a"])) == 1
    assert len(curves(GAP, [reward("a", 0, 0.0, None, "gap")], ["a"])) == 1
    assert curves(TRAINING, [], ["a"]) == []


def test_a_chart_says_that_it_has_no_interval() -> None:
    assert bands_text({"mismatch": [reward("a", 0, 0.5, None)]}) == "No interval: one value an update."


def test_seconds_are_shown_by_update_for_one_run_and_in_the_mean_for_several() -> None:
    numbers = [
        Number(run, "time", metric, 2.0, update=update, item=phase)
        for run in ("a", "a run with a long name")
        for phase in [f"phase {k}" for k in range(10)]
        for metric, update in (("seconds", 0), ("seconds", 1), ("seconds_mean", None))
    ]
    alone = time_chart(numbers[:30], ["a"])
    assert alone.svg.count("<rect") == 2 * 8  # ten phases in eight colours
    assert alone.legend[-1] == "other"
    both = time_chart(numbers, ["a", "a run with a long name"])
    assert both.svg.count("<rect") == 2 * 8
    assert "a run with …" in both.svg
    assert time_chart([], ["a"]) is None


def test_scorers_have_a_chart_together_where_there_are_several() -> None:
    def of(name: str) -> Number:
        return reward("a", 0, 0.5, None, f"reward_values.{name}")

    assert curves(TRAINING, [of("checker")], ["a"]) == []
    (chart,) = curves(TRAINING, [of("length"), of("checker")], ["a"])
    assert (chart.title, chart.legend) == ("What each scorer gave", ["checker", "length"])
    numbers = [of("length"), of("checker"), replace(of("checker"), run="b")]
    assert [one.title for one in curves(TRAINING, numbers, ["a", "b"])] == [
        "What each scorer gave: checker",
        "What each scorer gave: length",
    ]
    assert len(curves(TRAINING, [of(f"s{k}") for k in range(30)], ["a"])[0].legend) == 8


def test_the_truth_is_called_after_what_measures_it() -> None:
    assert training_plans({}, ["ground truth (exact)"]) == training_plans({}) == TRAINING
    reward = training_plans({"run": "own:reward"}, ["truth (detector)", "truth (detector)"])[0]
    assert reward.metrics == {"reward_mean": "own reward (own:reward)", "truth_mean": "truth (detector)"}
    assert "the truth (detector) is measured in the same images, by what no reward uses" in reward.about
