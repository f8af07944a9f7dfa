import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scenes.detected.boxes import Box
from scenes.detected.relations import GENEVAL_SLACK, RULES, plain_predicate, relations
from scenes.shape_world import INVERSE

PLACES = st.integers(0, 1000)
SIZES = st.integers(1, 300)
BOXES = st.builds(lambda x, y, w, h: Box(x, y, x + w, y + h), PLACES, PLACES, SIZES, SIZES)
RULE = st.sampled_from(RULES)


@given(BOXES, BOXES, RULE)
def test_what_is_left_of_another_has_that_one_to_its_right(one: Box, other: Box, rule) -> None:
    assert set(relations(one, other, rule)) == {INVERSE[name] for name in relations(other, one, rule)}


@given(BOXES, BOXES, RULE, st.integers(-500, 500), st.integers(-500, 500))
def test_nothing_changes_where_both_boxes_move(one: Box, other: Box, rule, x: int, y: int) -> None:
    moved = [Box(b.left + x, b.top + y, b.right + x, b.bottom + y) for b in (one, other)]
    assert relations(*moved, rule) == relations(one, other, rule)


@given(BOXES, BOXES, RULE)
def test_a_box_is_never_on_both_sides_of_another(one: Box, other: Box, rule) -> None:
    found = set(relations(one, other, rule))
    assert not found >= {"left of", "right of"}
    assert not found >= {"above", "below"}
    assert relations(one, one, rule) == ()


@given(BOXES, BOXES)
def test_the_rule_with_a_slack_never_says_more_than_the_one_without(one: Box, other: Box) -> None:
    assert set(relations(one, other, "geneval")) <= set(relations(one, other, "visor"))


@given(BOXES, BOXES)
def test_on_one_axis_geneval_holds_from_twice_the_slack_on(one: Box, other: Box) -> None:
    """With o the only way between the centres, `(|o| − s) / |o| > ½` is `|o| > 2s`."""
    level = one.centre[1] - other.centre[1]
    other = Box(other.left, other.top + level, other.right, other.bottom + level)
    way, slack = one.centre[0] - other.centre[0], GENEVAL_SLACK * (one.size[0] + other.size[0])
    assume(abs(abs(way) - 2 * slack) > 1e-6)
    expected = ({True: "left of", False: "right of"}[way < 0],) if abs(way) > 2 * slack else ()
    assert relations(one, other) == expected


@pytest.mark.parametrize(("way", "found"), [(7.99, ()), (8.01, ("right of",)), (-7.99, ()), (-8.01, ("left of",))])
def test_the_boundary_of_the_slack_in_numbers(way: float, found: tuple[str, ...]) -> None:
    """Two boxes of 20 pixels: the slack is 0.1 · 40 = 4 pixels."""
    assert relations(Box(way, 0, way + 20, 20), Box(0, 0, 20, 20)) == found


def test_visor_compares_centroids_alone() -> None:
    assert relations(Box(0.5, 0, 20.5, 20), Box(0, 0, 20, 20), "visor") == ("right of",)
    assert relations(Box(0, 0, 2, 2), Box(3, 1, 5, 3), "visor") == ("left of", "above")


def test_on_a_diagonal_two_relations_hold_and_near_an_axis_one() -> None:
    diagonal = 100 / math.sqrt(2)
    assert set(relations(Box(diagonal, diagonal, diagonal + 2, diagonal + 2), Box(0, 0, 2, 2))) == {"right of", "below"}
    assert relations(Box(100, 20, 102, 22), Box(0, 0, 2, 2)) == ("right of",)


def test_other_words_mean_the_four_relations_and_no_others() -> None:
    assert [plain_predicate(p) for p in ("Left  of", "to the right of", "over", "beneath")] == [
        "left of",
        "right of",
        "above",
        "below",
    ]
    assert [plain_predicate(p) for p in ("holding", "on", "behind", "")] == [None] * 4
