from pathlib import Path

import pytest

from experiments.frontier.choosing import Choices, Tried, best
from experiments.frontier.systems import PLAIN, RL_RIG, SYSTEMS, Setting, settings_of
from presets.errors import BadInput

CANDIDATES = [
    Tried(Setting(1, 8), 0.3, 0.05),
    Tried(Setting(2, 8), 0.5, 0.09),
    Tried(Setting(3, 8), 0.5, 0.12),
    Tried(Setting(4, 8), 0.6, 0.15),
]


def test_the_best_within_the_budget_is_chosen_and_the_cheapest_of_equals() -> None:
    assert best(CANDIDATES, 0.15) == CANDIDATES[3]
    assert best(CANDIDATES, 0.149) == CANDIDATES[1]
    assert best(CANDIDATES, 0.01) is None


def test_what_was_chosen_is_read_back(tmp_path: Path) -> None:
    choices = Choices(
        {"two": 0.2}, {"two": "RL-RIG"}, {"two": {"RL-RIG": 64}}, {"two": {"RL-RIG": {"0.5": None, "1": CANDIDATES[1]}}}
    )
    choices.write(tmp_path / "choices.json")
    again = Choices.read(tmp_path / "choices.json")
    assert again == choices
    assert again.settings("two") == [(PLAIN, Setting(2, 8))]
    assert again.of("two", PLAIN, 0.5) is None
    assert again.settings("three") == []
    (tmp_path / "choices.json").write_text('{"chosen": {"two": 1}}')
    with pytest.raises(BadInput, match="holds no choices"):
        Choices.read(tmp_path / "choices.json")


def test_a_system_that_edits_always_may_and_only_some_may_draw_more_than_once() -> None:
    for system in SYSTEMS:
        settings = settings_of(system)
        assert len(set(settings)) == len(settings)
        assert all(bool(one.turns) == (system.actor is not None) for one in settings)
        assert (max(one.drawings for one in settings) > 1) == system.chooses
    assert set(settings_of(PLAIN)) < set(settings_of(RL_RIG))
