import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.status.sparkline import sparkline, thin

values = st.lists(st.none() | st.floats(-1e6, 1e6), max_size=80)


def test_the_least_value_is_the_lowest_block_and_the_greatest_the_highest() -> None:
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█"
    assert sparkline([0.3, None, 0.1]) == "█ ▁"


def test_equal_values_are_a_flat_line_and_no_values_are_no_line() -> None:
    assert sparkline([0.4, 0.4]) == "▁▁"
    assert sparkline([None, None]) == ""
    assert sparkline([]) == ""


def test_a_long_curve_becomes_means_of_stretches() -> None:
    assert thin([1.0, 3.0, None, 5.0, None, None], 3) == [2.0, 5.0, None]


@given(values, st.integers(1, 30))
def test_thinning_keeps_length_bounds_and_mean(given_values: list[float | None], points: int) -> None:
    thinned = thin(given_values, points)
    assert len(thinned) == min(points, len(given_values))
    assert len(sparkline(given_values, points)) <= points
    known = [value for value in given_values if value is not None]
    for value in thinned:
        assert value is None or min(known) - 1e-6 <= value <= max(known) + 1e-6
    if len(given_values) <= points:
        assert thinned == pytest.approx(given_values)
