import math

import pytest

from rewards.scorers.kept_requirements import KeptRequirements
from rewards.scorers.length import Length
from tests.rewards.turns import turn

NAN = float("nan")


@pytest.mark.parametrize(
    ("before", "after", "hard", "soft"),
    [
        ([0.9, 0.2], [0.1, 0.9], 0.0, 0.1 / 0.9),
        ([0.9, 0.6, 0.1], [0.8, 0.4, 0.0], 0.5, (0.8 / 0.9 + 0.4 / 0.6) / 2),
        ([0.6, 0.2], [1.0, 0.0], 1.0, 1.0),
        ([0.4, 0.2], [0.0, 0.0], 1.0, 1.0),
        ([0.9, 0.2], [0.8, NAN], 1.0, 0.8 / 0.9),
    ],
)
def test_what_held_before_must_still_hold(before, after, hard, soft) -> None:
    one = turn(satisfaction_before=before, satisfaction_after=after)
    assert KeptRequirements()([one]) == [pytest.approx(hard)]
    assert KeptRequirements(soft=True)([one]) == [pytest.approx(soft)]


def test_a_requirement_that_held_and_was_not_judged_again_leaves_no_value() -> None:
    assert math.isnan(KeptRequirements()([turn(satisfaction_before=[0.9, 0.2], satisfaction_after=[NAN, 0.2])])[0])


def test_long_answers_cost_in_a_line_up_to_one() -> None:
    tokens = (0, 24, 36, 48, 90)
    assert Length(48)([turn(tokens=one) for one in tokens]) == [0, 0, -0.5, -1, -1]
    assert Length(40, free=30)([turn(tokens=35)]) == [-0.5]
    with pytest.raises(ValueError, match="free: 40"):
        Length(40, free=40)
