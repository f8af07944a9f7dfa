import numpy as np
import pytest

from rewards.values import ScorerFailed, checked_values, nonsense


def test_numbers_of_any_kind_are_values_and_everything_else_is_none():
    given = [1, 0.5, np.float32(0.25), float("nan"), float("inf"), "0.5", None, True, [1.0]]
    assert checked_values(given, 9) == [1.0, 0.5, 0.25, *[None] * 6]
    assert "str '0.5'" in nonsense(["0.5"], [None])


def test_an_array_is_a_list_of_numbers():
    assert checked_values(np.array([0.5, np.nan]), 2) == [0.5, None]


def test_nan_may_pass():
    (value,) = checked_values([float("nan")], 1, nan_passes=True)
    assert value != value


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([0.1], "returned 1 values for 2 turns"),
        (0.5, "returned float"),
        ({"a": 1, "b": 2}, "returned dict"),
        (None, "None"),
    ],
)
def test_another_count_or_type_is_refused(given, says):
    with pytest.raises(ScorerFailed, match=says):
        checked_values(given, 2)
