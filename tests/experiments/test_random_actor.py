from __future__ import annotations

from collections import Counter

import pytest

from experiments.random_actor import RandomActor
from scenes.dialogue import actor_request, read_move
from scenes.scene_graph import parse_prompt
from scenes.shape_world import PREDICATES

GRAPH = parse_prompt("red circle left of blue square; blue square above green star", PREDICATES)
REQUEST = actor_request(GRAPH.requirements, GRAPH.requirements[:1])


def test_moves_are_valid_and_cover_all_of_them_evenly() -> None:
    answers = RandomActor().reflect([None] * 2400, [REQUEST] * 2400, seeds=range(2400))
    moves = Counter(read_move(answer[0].reflection.edit_prompt) for answer in answers)
    names = ["red circle", "blue square", "green star"]
    assert moves.keys() == {(a, p, b) for a in names for b in names if a != b for p in PREDICATES}
    assert min(moves.values()) > 60  # 100 expected of each of 24
    assert max(moves.values()) < 145


def test_equal_seeds_give_equal_answers() -> None:
    first, second, other = RandomActor().reflect([None] * 3, [REQUEST] * 3, seeds=[7, 7, 8])
    assert first == second
    assert first != other
    with pytest.raises(ValueError, match="one seed for each request"):
        RandomActor().reflect([None], [REQUEST])
