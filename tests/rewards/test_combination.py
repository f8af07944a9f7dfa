import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presets.scoring.scorers import ScorerConfig
from rewards.combination import EPSILON, combined
from rewards.part import by_scorer
from tests.rewards.turns import turn

CHECKER, LENGTH = ScorerConfig(), ScorerConfig(scorer="length", weight=0.5)


def rewards(entries, turns, values, scales=None):
    return [worth.reward for worth in combined(entries, turns, values, scales or {}, {})]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9))
@settings(deadline=None)
def test_one_scorer_of_weight_one_gives_its_values_to_the_bit(values):
    turns = [turn(group=k % 2) for k in range(len(values))]
    assert rewards([CHECKER], turns, {"checker": values}) == values


def test_values_are_weighted_and_added_up_and_each_part_is_told():
    worths = combined(
        [CHECKER, LENGTH], [turn(), turn()], {"checker": [0.5, 1.0], "length": [-1.0, 0.0]}, {}, {"length": 3}
    )
    assert [worth.reward for worth in worths] == [0.0, 1.0]
    assert [(p.name, p.value, p.part, p.seconds) for p in worths[0].parts] == [
        ("checker", 0.5, 0.5, 0.0),
        ("length", -1.0, -0.5, 3),
    ]


def test_a_group_is_normalised_by_its_own_members_and_its_start_alike():
    entry = ScorerConfig(normalise="group", weight=2.0)
    turns = [turn(group=1), turn(group=1), turn(group=1), turn(group=2), turn(group=1, still=True)]
    found = rewards([entry], turns, {"checker": [1.0, 2.0, 6.0, 40.0, 3.0]})
    mean, deviation = 3.0, np.std([1.0, 2.0, 6.0])
    assert found[:3] == pytest.approx([2 * (v - mean) / (deviation + EPSILON) for v in (1, 2, 6)])
    assert found[3:] == [0.0, 0.0]  # alone in its group; a start at the mean


def test_running_normalisation_takes_the_scale_of_the_updates_so_far_and_none_before_the_first():
    entry = ScorerConfig(normalise="running")
    turns, values = [turn(), turn()], {"checker": [2.0, 4.0]}
    assert rewards([entry], turns, values) == [2.0, 4.0]
    assert rewards([entry], turns, values, {"checker": (3.0, 0.5)}) == pytest.approx([-1 / 0.5001, 1 / 0.5001])


def test_a_member_without_the_value_of_a_required_scorer_is_rejected_by_its_name():
    worths = combined([CHECKER, LENGTH], [turn(), turn()], {"checker": [0.5, 1.0], "length": [None, 0.0]}, {}, {})
    assert math.isnan(worths[0].reward)
    assert worths[0].rejected == "scorer length gave no value"
    assert by_scorer(worths[0].rejected)
    assert not by_scorer("the image is black")
    assert (worths[1].reward, worths[1].rejected) == (1.0, None)
    assert math.isnan(worths[0].parts[1].value)


def test_a_group_goes_on_without_a_scorer_that_is_not_required():
    entry = LENGTH.model_copy(update={"required": False})
    turns = [turn(group=1), turn(group=1), turn(group=2), turn(group=1, still=True)]
    worths = combined([CHECKER, entry], turns, {"checker": [0.5] * 4, "length": [None, -1.0, -1.0, 0.0]}, {}, {})
    assert [worth.reward for worth in worths] == [0.5, 0.5, 0.0, 0.5]
    assert [worth.rejected for worth in worths] == [None] * 4
    assert math.isnan(worths[1].parts[1].part)
    assert worths[1].parts[1].value == -1.0


def test_a_start_without_a_value_is_no_reason_to_reject_anything():
    worths = combined(
        [CHECKER, LENGTH], [turn(still=True), turn()], {"checker": [0.5, 0.7], "length": [None, 0.0]}, {}, {}
    )
    assert [worth.reward for worth in worths] == [0.5, 0.7]
