from dataclasses import dataclass

import numpy as np
import pytest

from presets.scoring.scorers import ScorerConfig
from rewards.numbers import describe_parts
from rewards.part import Part

NAN = float("nan")
ENTRIES = [
    ScorerConfig(),
    ScorerConfig(scorer="length", weight=0.5, apply_to="actor"),
    ScorerConfig(scorer="sharpness"),
]


@dataclass(frozen=True)
class Row:
    group: int
    reward_parts: list[Part] | None
    rejected: str | None = None
    stage: str = "actor"
    turn: int = 0


def parts(checker, length, seconds=1.0):
    return [Part("checker", checker, checker, 0.5), Part("length", length, length * 0.5, seconds)]


def test_each_scorer_is_told_with_its_spread_its_weight_and_what_it_did_not_give():
    rows = [
        Row(1, parts(0.2, -1.0)),
        Row(1, parts(0.6, 0.0)),
        Row(2, parts(1.0, -0.5, seconds=2.0)),
        Row(2, parts(0.0, NAN, seconds=2.0), rejected="scorer length gave no value"),
        Row(2, None),
    ]
    found = describe_parts(rows, ENTRIES)
    assert found["reward_values"] == pytest.approx({"checker": 0.6, "length": -0.5})
    assert found["reward_parts"] == pytest.approx({"checker": 0.6, "length": -0.25})
    assert found["reward_spread"] == pytest.approx({"checker": 0.1, "length": np.std([-0.5, 0.0]) / 2})
    assert found["reward_weights"] == {"checker": 1.0, "length": 0.5, "sharpness": 1.0}
    assert found["reward_missing"] == {"checker": 0, "length": 1, "sharpness": 0}
    assert found["scorer_seconds"] == {"checker": 0.5, "length": 3.0, "sharpness": 0.0}


def test_scorers_of_the_other_policy_and_updates_without_a_turn_say_nothing():
    found = describe_parts([Row(1, parts(0.2, 0.0), stage="editor")], ENTRIES)
    assert set(found["reward_weights"]) == {"checker", "sharpness"}
    assert describe_parts([], ENTRIES)["reward_values"] == {}
