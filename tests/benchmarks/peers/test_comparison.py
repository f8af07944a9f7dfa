import pytest

from benchmarks.peers.comparison import WITHOUT_DRAWING, compare, complete, markdown


def update(draw: float, edit: float, whole: float) -> dict[str, float]:
    return complete({"draw": draw, "edit": edit, "update": whole})


def test_what_is_in_no_phase_is_other_and_drawing_can_be_left_out():
    found = update(2.0, 1.5, 5.0)
    assert found["other"] == pytest.approx(1.5)
    assert found[WITHOUT_DRAWING] == pytest.approx(3.0)
    assert sum(seconds for phase, seconds in found.items() if "update" not in phase) == pytest.approx(5.0)


def test_each_phase_is_compared_by_its_median_and_one_that_nobody_has_is_left_out():
    found = compare([update(1, 3, 9), update(1, 1, 5), update(1, 2, 6)], [update(2, 4, 8)])
    assert found["edit"] == (2, 4)
    assert found["update"] == (6, 8)
    assert "sync" not in found


def test_the_table_shows_ours_theirs_and_their_ratio():
    lines = list(markdown({"actor": compare([update(1, 3, 6)], [update(0, 2, 4)])}))
    assert lines[:2] == ["| work | phase | ours, s | theirs, s | ratio |", "|---|---|---|---|---|"]
    assert "| actor | draw | 1.00 | 0.00 |  |" in lines
    assert "| actor | update | 6.00 | 4.00 | 1.50 |" in lines


def test_a_side_without_a_measurement_is_refused():
    with pytest.raises(ValueError, match="0 and 1 measurements"):
        compare([], [update(1, 1, 2)])
