import re

import numpy as np

from experiments.frontier.choosing import Choices, Tried
from experiments.frontier.comparing import ALL, Cells, Measured, comparisons_of, pooled_of, pooled_verdict, verdict
from experiments.frontier.plot import frontier_plot
from experiments.frontier.systems import RL_RIG, SYSTEMS, Setting
from reports.intervals import Bootstrap, Scores

QUICK = Bootstrap(resamples=500)
PROMPTS = [f"p-{k}" for k in range(40)]


def measured(values: np.ndarray, seconds: float = 0.2) -> Measured:
    scores = Scores.from_cells({0: dict(zip(PROMPTS, values.tolist(), strict=True))})
    return Measured(Tried(Setting(1, 8), 0.5, 0.2), scores, QUICK.mean(scores), 0.5, 0.0, seconds)


NOISE = np.random.default_rng(0).uniform(0, 0.5, len(PROMPTS))
OURS, LOWER, HIGHER = measured(NOISE + 0.2), measured(NOISE + 0.1), measured(NOISE + 0.3, 0.4)


def test_the_first_line_says_that_rl_rig_is_at_or_above() -> None:
    cells: Cells = {"two": {RL_RIG.name: {1.0: OURS, 2.0: OURS}, "Best-of-k": {1.0: LOWER, 2.0: OURS}}}
    text = verdict(comparisons_of(cells, QUICK), Choices())
    assert text.startswith("**RL-RIG is at or above every untrained system at every budget**, in all 2 comparisons; 1")
    assert text.endswith("1 intervals of the difference lie above zero, 0 below.")


def test_the_first_line_says_where_it_is_not() -> None:
    cells: Cells = {"two": {RL_RIG.name: {1.0: OURS, 2.0: OURS}, "Best-of-k": {1.0: LOWER, 2.0: HIGHER}}}
    text = verdict(comparisons_of(cells, QUICK), Choices())
    assert "is not at or above every untrained system at every budget**: it scores lower, or has no" in text
    assert "in 1 of 2 comparisons" in text
    assert text.endswith("1 intervals of the difference lie above zero, 1 below.")


def test_a_budget_that_rl_rig_does_not_fit_into_counts_against_it_and_the_oracle_does_not() -> None:
    cells: Cells = {
        "two": {
            RL_RIG.name: {1.0: OURS},
            "Diffuser": {0.5: LOWER, 1.0: LOWER},
            "Oracle Actor after best-of-k": {1.0: HIGHER},
        }
    }
    found = comparisons_of(cells, QUICK)
    assert [(one.other.name, one.budget, one.below) for one in found] == [
        ("Diffuser", 0.5, True),
        ("Diffuser", 1.0, False),
        ("Oracle Actor after best-of-k", 1.0, True),
    ]
    assert "it scores lower, or has no setting that fits, in 1 of 2" in verdict(found, Choices())


def test_before_the_test_the_first_line_says_what_the_validation_prompts_say() -> None:
    untested = comparisons_of({"two": {"Diffuser": {1.0: LOWER}}}, QUICK)
    assert verdict(untested, Choices()).endswith("not tested yet.** There are not enough rows of a trained run.")
    low, high = Tried(Setting(1, 8), 0.3, 0.1), Tried(Setting(2, 8), 0.5, 0.1)
    chosen = {
        RL_RIG.name: {"1": low, "2": high},
        "Diffuser": {"0.5": low, "1": low, "2": low},
        "Best-of-k": {"1": high},
    }
    text = verdict(untested, Choices(chosen={"two": dict(chosen)}))
    assert text.endswith("it scores lower, or has no setting that fits, in 2 of 4 comparisons.")


def test_the_plot_has_a_line_for_each_system_and_a_panel_for_each_set() -> None:
    cells: Cells = {"two": {RL_RIG.name: {1.0: OURS, 2.0: HIGHER}, "Diffuser": {1.0: LOWER}}, "three": {}}
    svg = frontier_plot(cells)
    assert svg.count("<polyline") == 4  # two lines, and two in the legend
    assert "two relations" in svg
    assert "three relations" not in svg
    assert frontier_plot({"two": {}}) == ""


def test_all_prompts_together_are_compared_where_every_set_has_a_setting() -> None:
    cells: Cells = {
        "two": {RL_RIG.name: {1.0: OURS, 2.0: OURS}, "Best-of-k": {1.0: LOWER, 2.0: LOWER}},
        "three": {RL_RIG.name: {1.0: OURS, 2.0: OURS}, "Best-of-k": {1.0: HIGHER}},
    }
    (found,) = pooled_of(cells, QUICK)
    assert (found.prompts, found.budget, found.other.name) == (ALL, 1.0, "Best-of-k")
    assert found.difference is not None
    assert abs(found.difference.absolute.mean) < 1e-9  # +0.1 in one set, -0.1 in the other
    assert found.difference.absolute.low < -0.01
    assert found.difference.absolute.high > 0.01
    assert pooled_of({**cells, "six_eight": {}}, QUICK) == []
    assert pooled_verdict([found]).endswith("above zero: 0 of 1 at 1×; below zero: none.")
    assert pooled_verdict([]) == ""


def test_no_two_systems_look_alike_in_the_plot() -> None:
    cells: Cells = {"two": {system.name: {1.0: OURS} for system in SYSTEMS}}
    legend = r'<polyline class="(s\d)" points="(?:52|392),\d+ [^"]*" stroke-width="[\d.]+" stroke-dasharray="([^"]*)"'
    lines = re.findall(legend, frontier_plot(cells))
    assert len(lines) == len(set(lines)) == len(SYSTEMS)
