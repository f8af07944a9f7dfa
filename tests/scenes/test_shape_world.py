from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenes.scene_graph import SceneGraph, parse_prompt
from scenes.shape_world import (
    BACKGROUND,
    CLEAR,
    COLOURS,
    INVERSE,
    MARGIN,
    PREDICATES,
    SHAPES,
    SIZE,
    PlacedObject,
    draw,
    extent,
    fits,
    holds,
    observed_predicate,
    offset,
    outline,
    sample_graphs,
    sample_scene,
)
from scenes.splits import split_of

seeds = st.integers(0, 2**32 - 1)
ranges = st.tuples(st.integers(1, 8), st.integers(1, 8)).map(lambda pair: (min(pair), max(pair)))
predicates = st.sampled_from(PREDICATES)
coordinates = st.floats(0, SIZE)


def combination(graph: SceneGraph) -> tuple[str, ...]:
    return tuple(sorted(graph.names))


@settings(max_examples=150, deadline=None)
@given(seeds, ranges)
def test_a_scene_has_a_connected_consistent_graph_that_clearly_holds_in_its_layout(seed, relations):
    scene = sample_scene(np.random.default_rng(seed), relations=relations)
    by_id = dict(enumerate(scene.objects))
    graph = scene.graph
    assert relations[0] <= len(graph.relations) == len(graph.requirements) <= relations[1]
    assert 2 <= len(graph.items) <= 4
    assert [item.name for item in graph.items] == [placed.name for placed in scene.objects]
    assert len({placed.colour for placed in scene.objects}) == len(scene.objects)
    for relation in graph.relations:
        assert offset(relation.predicate, by_id[relation.subject], by_id[relation.object]) >= CLEAR
    stated = {(r.subject, r.predicate, r.object) for r in graph.relations}
    for subject, predicate, object_ in stated:
        assert (object_, predicate, subject) not in stated
        assert (subject, INVERSE[predicate], object_) not in stated
    linked = {graph.relations[0].subject}
    for _ in graph.items:
        linked |= {x for r in graph.relations if {r.subject, r.object} & linked for x in (r.subject, r.object)}
    assert linked == set(by_id)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_objects_of_a_scene_lie_inside_and_apart(seed):
    objects = sample_scene(np.random.default_rng(seed)).objects
    for k, placed in enumerate(objects):
        assert fits(placed, objects[:k] + objects[k + 1 :])
        assert extent(placed) <= placed.x <= SIZE - extent(placed)


@settings(max_examples=40, deadline=None)
@given(seeds, st.sampled_from(["train", "held_out"]))
def test_a_scene_of_a_split_belongs_to_it(seed, split):
    scene = sample_scene(np.random.default_rng(seed), split)
    assert split_of([(placed.colour, placed.shape) for placed in scene.objects]) == split


def test_splits_share_no_object_combination():
    train = {combination(graph) for graph in islice(sample_graphs("train", 3), 300)}
    held_out = {combination(graph) for graph in islice(sample_graphs("held_out", 3), 300)}
    assert not train & held_out


def test_a_fifth_of_the_combinations_of_two_is_held_out_whatever_their_order():
    objects = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    pairs = [[a, b] for a in objects for b in objects if a[0] < b[0]]
    share = np.mean([split_of(pair) == "held_out" for pair in pairs])
    assert 0.13 < share < 0.27
    assert all(split_of(pair) == split_of(pair[::-1]) for pair in pairs)


def test_the_same_seed_gives_the_same_graphs_and_another_seed_others():
    first, again, other = (list(islice(sample_graphs("train", seed), 25)) for seed in (5, 5, 6))
    assert first == again
    assert [g.requirements for g in first] != [g.requirements for g in other]
    assert len({graph.img_id for graph in first}) == 25


def test_graphs_have_two_to_three_relations_by_default_and_read_back_from_their_prompts():
    for graph in islice(sample_graphs("held_out", 0), 60):
        assert len(graph.relations) in (2, 3)
        assert parse_prompt(graph.prompt, PREDICATES).requirements == graph.requirements


@pytest.mark.parametrize("relations", [(0, 2), (3, 2), (1, 9)])
def test_a_range_of_relations_that_no_graph_can_have_is_refused(relations):
    with pytest.raises(ValueError, match="is not a range within 1 to 8"):
        sample_scene(np.random.default_rng(0), relations=relations)


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="split: 'test' is unknown; use 'train' or 'held_out'"):
        sample_scene(np.random.default_rng(0), "test")


@given(predicates, coordinates, coordinates, coordinates, coordinates)
def test_a_predicate_and_its_inverse_mirror_each_other(predicate, ax, ay, bx, by):
    a, b = PlacedObject("red", "circle", ax, ay, 7), PlacedObject("blue", "square", bx, by, 7)
    assert offset(predicate, a, b) == -offset(INVERSE[predicate], a, b)
    assert holds(predicate, a, b) == holds(INVERSE[predicate], b, a)
    assert not (holds(predicate, a, b) and holds(predicate, b, a))
    assert offset(observed_predicate(a, b), a, b) == max(offset(p, a, b) for p in PREDICATES) >= 0


def test_a_predicate_holds_from_four_pixels_on_with_y_downwards():
    middle = PlacedObject("red", "circle", 32, 32, 7)
    assert holds("left of", middle, PlacedObject("blue", "star", 32 + MARGIN, 32, 7))
    assert not holds("left of", middle, PlacedObject("blue", "star", 32 + MARGIN - 0.1, 32, 7))
    assert holds("above", middle, PlacedObject("blue", "star", 32, 50, 7))
    assert observed_predicate(middle, PlacedObject("blue", "star", 40, 20, 7)) == "below"


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_covers_the_same_area_around_its_centre(shape):
    image = draw((PlacedObject("blue", shape, 30.0, 34.0, 8.0),)).astype(float)
    covered = (BACKGROUND[0] - image[..., 0]) / (BACKGROUND[0] - COLOURS["blue"][0])
    rows, columns = np.indices(covered.shape)
    assert covered.sum() == pytest.approx(np.pi * 8.0**2, rel=0.08)
    assert (columns * covered).sum() / covered.sum() + 0.5 == pytest.approx(30.0, abs=0.3)
    assert (rows * covered).sum() / covered.sum() + 0.5 == pytest.approx(34.0, abs=0.3)


def test_an_unknown_shape_is_refused():
    with pytest.raises(ValueError, match="shape: 'hexagon' is unknown; the shapes are circle, square, triangle, star"):
        outline("hexagon")


def test_a_picture_is_64_by_64_and_empty_where_nothing_is_drawn():
    image = draw(())
    assert image.shape == (64, 64, 3)
    assert image.dtype == np.uint8
    assert (image == BACKGROUND).all()
