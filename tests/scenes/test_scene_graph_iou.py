from dataclasses import replace
from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenes.extractors import Extraction, Malformed, extract
from scenes.kinds.kinds import Attribute, Count
from scenes.scene_graph import Item, SceneGraph, parse_prompt
from scenes.scene_graph_iou import SceneScores, iou, mean_scores, score, score_observed
from scenes.shape_world import PREDICATES, PlacedObject, draw, sample_scene

GRAPH = parse_prompt("red circle left of blue square; green star above red circle", PREDICATES)
CIRCLE = PlacedObject("red", "circle", 15, 40, 7)
SQUARE = PlacedObject("blue", "square", 45, 40, 7)
STAR = PlacedObject("green", "star", 15, 15, 7)

sets = st.sets(st.integers(0, 6))


def test_iou_of_sets_by_hand():
    assert iou({1, 2, 3}, {2, 3, 4, 5}) == 2 / 5
    assert iou({1}, set()) == 0.0
    assert iou(set(), set()) == 0.0


@given(sets, sets)
def test_iou_is_symmetric_between_0_and_1_and_1_for_equal_sets_only(a, b):
    assert iou(a, b) == iou(b, a)
    assert 0.0 <= iou(a, b) <= 1.0
    assert (iou(a, b) == 1.0) == (a == b != set())


def test_a_picture_that_shows_everything_scores_1():
    assert score(GRAPH, Extraction((CIRCLE, SQUARE, STAR))) == SceneScores(1.0, 1.0, 1.0, 1.0)


def test_a_relation_turned_round_lowers_triples_and_predicates_by_hand():
    star_below = PlacedObject("green", "star", 15, 60, 7)
    scores = score(GRAPH, Extraction((CIRCLE, SQUARE, star_below)))
    # asked {left of, above}, found {left of, below}: one of three triples, one of three predicates
    assert scores == SceneScores(sg_iou=1 / 3, entity_iou=1.0, relation_iou=1 / 3, satisfied=0.5)


def test_a_missing_and_an_extra_object_by_hand():
    extra = PlacedObject("yellow", "circle", 45, 15, 7)
    scores = score(GRAPH, Extraction((CIRCLE, SQUARE, extra)))
    assert scores == SceneScores(sg_iou=0.5, entity_iou=2 / 4, relation_iou=0.5, satisfied=0.5)


def test_a_malformed_object_is_not_found():
    scores = score(GRAPH, Extraction((CIRCLE, SQUARE), (Malformed("resembles no shape", "green", 15, 15),)))
    assert scores == SceneScores(sg_iou=0.5, entity_iou=2 / 3, relation_iou=0.5, satisfied=0.5)


def test_a_doubled_object_is_an_entity_but_in_no_triple():
    again = PlacedObject("green", "star", 45, 15, 7)
    scores = score(GRAPH, Extraction((CIRCLE, SQUARE, STAR, again)))
    assert scores == SceneScores(sg_iou=0.5, entity_iou=1.0, relation_iou=0.5, satisfied=0.5)


def test_an_empty_picture_scores_0():
    assert score(GRAPH, extract(draw(()))) == SceneScores(0.0, 0.0, 0.0, 0.0)


def test_every_drawn_scene_scores_1():
    rng = np.random.default_rng(30)
    for _ in range(30):
        scene = sample_scene(rng)
        assert score(scene.graph, extract(scene.image)) == SceneScores(1.0, 1.0, 1.0, 1.0)


def test_what_another_extractor_found_is_scored_alike():
    scores = score_observed(
        GRAPH,
        names=["red circle", "green star"],
        triples=[("green star", "above", "red circle"), ("green star", "next to", "red circle")],
    )
    assert scores == SceneScores(sg_iou=1 / 3, entity_iou=2 / 3, relation_iou=1 / 3, satisfied=0.5)


def test_a_graph_without_relations_cannot_be_scored():
    with pytest.raises(ValueError, match="record 'lonely': field 'relations' is empty"):
        score(SceneGraph("lonely", (Item(0, "circle", ("red",)),), ()), Extraction((CIRCLE,)))


def test_means_by_hand():
    mean = mean_scores([SceneScores(1.0, 1.0, 0.5, 1.0), SceneScores(0.0, 0.5, 0.25, 0.5)])
    assert (mean.n, mean.sg_iou, mean.entity_iou, mean.relation_iou, mean.satisfied) == (2, 0.5, 0.75, 0.375, 0.75)


def test_a_mean_of_nothing_is_refused():
    with pytest.raises(ValueError, match="none to average"):
        mean_scores([])


def test_other_requirements_count_as_satisfied_and_have_scores_of_their_own():
    others = (Count("circle", 1), Count("star", 2), Attribute("square", "blue"))
    graph = replace(GRAPH, others=others)
    scores = score(graph, Extraction((CIRCLE, SQUARE)))
    assert (scores.sg_iou, scores.satisfied) == (0.5, 3 / 5)
    assert scores.by_kind == {"relation": 0.5, "count": 0.5, "attribute": 1.0}


def test_without_relations_there_is_no_overlap_of_triples():
    graph = SceneGraph("1", (), (), (Count("circle", 1), Count("star", 1)))
    scores = score(graph, Extraction((CIRCLE, SQUARE)))
    assert all(map(isnan, (scores.sg_iou, scores.relation_iou, scores.entity_iou)))
    assert (scores.satisfied, scores.by_kind) == (0.5, {"count": 0.5})


def test_means_are_over_the_pictures_that_have_the_score():
    mean = mean_scores([SceneScores(nan, 0.5, nan, 0.5, {"count": 0.5}), SceneScores(1.0, 1.0, 1.0, 1.0)])
    assert (mean.sg_iou, mean.entity_iou, mean.by_kind, mean.n) == (1.0, 0.75, {"count": 0.5}, 2)
    assert isnan(mean_scores([SceneScores(nan, 0.5, nan, 0.5)]).sg_iou)
