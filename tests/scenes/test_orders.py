from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenes.orders import contradictions
from scenes.scene_graph import parse_prompt
from scenes.shape_world import INVERSE, PREDICATES, sample_graphs


def told(prompt: str) -> list[str]:
    return contradictions(parse_prompt(prompt, (*PREDICATES, "on")))


@pytest.mark.parametrize(
    ("prompt", "line"),
    [
        ("a left of b; b left of a", "these two cannot both hold: a left of b; b left of a"),
        ("a left of b; a right of b", "these two cannot both hold: a left of b; a right of b"),
        ("a above b; c on b; b above c; c above a", "these three cannot all hold: a above b; b above c; c above a"),
        ("a below b; a above c; d above b; c above d", "these 4 cannot all hold"),
    ],
)
def test_relations_in_a_circle_are_named(prompt: str, line: str) -> None:
    (found,) = told(prompt)
    assert found.startswith(line)


def test_both_orders_are_looked_at_and_do_not_meet() -> None:
    assert told("a left of b; b above a; a on b; b on a") == []
    assert len(told("a left of b; b left of a; a above b; a below b")) == 2


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=12), st.booleans())
def test_an_order_of_the_items_is_found_or_a_circle(pairs: list[tuple[int, int]], flip: bool) -> None:
    straight = [(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]]
    if straight:
        texts = [f"i{b} right of i{a}" if flip and k % 2 else f"i{a} left of i{b}" for k, (a, b) in enumerate(straight)]
        assert told("; ".join(texts)) == []
        first, last = straight[0]
        assert told("; ".join([*texts, f"i{last} left of i{first}"]))


def test_scenes_that_can_be_drawn_have_no_circle() -> None:
    assert set(INVERSE) == set(PREDICATES)
    assert not any(contradictions(graph) for graph in islice(sample_graphs("train", 0, (2, 5)), 200))
