import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenes.scene_graph import Item, Relation, Requirement, SceneGraph, number_repeated_names, parse_prompt
from scenes.shape_world import PREDICATES

RED_CIRCLE = Item(0, "circle", ("red",))
BLUE_SQUARE = Item(1, "square", ("blue",))
GREEN_STAR = Item(2, "star", ("green",))

words = st.sampled_from(["cat", "dog", "1", "2", "red"])
item_tuples = st.lists(st.tuples(words, st.lists(words, max_size=1)), min_size=1, max_size=6).map(
    lambda rows: tuple(Item(k, label, tuple(attributes)) for k, (label, attributes) in enumerate(rows))
)


def test_prompt_joins_triples_with_attributes_by_semicolons():
    graph = SceneGraph("1", (RED_CIRCLE, BLUE_SQUARE, GREEN_STAR), (Relation(0, "left of", 1), Relation(2, "above", 0)))
    assert graph.prompt == "red circle left of blue square; green star above red circle"
    assert graph.requirements == (
        Requirement("red circle", "left of", "blue square"),
        Requirement("green star", "above", "red circle"),
    )
    assert graph.names == ("red circle", "blue square", "green star")


def test_a_triple_that_occurs_twice_is_one_requirement():
    graph = SceneGraph("1", (RED_CIRCLE, BLUE_SQUARE), (Relation(0, "above", 1), Relation(0, "above", 1)))
    assert len(graph.requirements) == 1


def test_a_graph_without_items_is_refused():
    with pytest.raises(ValueError, match="record '7': field 'items' is empty"):
        SceneGraph("7", (), ())


def test_an_item_id_used_twice_is_refused():
    with pytest.raises(ValueError, match="field 'items' uses item_id 0 twice"):
        SceneGraph("7", (RED_CIRCLE, Item(0, "square", ("blue",))), ())


@pytest.mark.parametrize(
    ("relation", "field"), [(Relation(5, "above", 1), "item1"), (Relation(0, "above", 5), "item2")]
)
def test_a_relation_to_an_item_that_is_not_there_is_refused(relation, field):
    with pytest.raises(ValueError, match=rf"'relations\[0\].{field}' is 5, .* the item_ids are \[0, 1\]"):
        SceneGraph("7", (RED_CIRCLE, BLUE_SQUARE), (relation,))


def test_a_relation_of_an_item_to_itself_is_refused():
    with pytest.raises(ValueError, match="relates item 0 to itself"):
        SceneGraph("7", (RED_CIRCLE,), (Relation(0, "above", 0),))


def test_record_has_the_published_fields():
    record = SceneGraph("7", (RED_CIRCLE, BLUE_SQUARE), (Relation(0, "above", 1),)).record()
    assert set(record) == {"img_id", "name", "caption_ori", "score", "url", "items", "relations"}
    assert record["items"][1] == {"item_id": 1, "label": "square", "attributes": ["blue"], "global_item_id": 1}
    assert record["relations"] == [
        {"triple_id": 0, "item1": 0, "relation": "above", "item2": 1, "global_relation_id": 0}
    ]


def test_items_that_read_the_same_are_numbered_and_others_are_not():
    items = (Item(0, "cat", ("white",)), Item(1, "sofa"), Item(2, "cat", ("white",)), Item(3, "cat"))
    assert [item.name for item in number_repeated_names(items)] == ["white cat 1", "sofa", "white cat 2", "cat"]


def test_a_number_never_makes_an_item_read_like_another_one():
    items = (Item(0, "cat"), Item(1, "1", ("cat",)), Item(2, "cat"))
    assert [item.name for item in number_repeated_names(items)] == ["cat 2", "cat 1", "cat 3"]


@given(item_tuples)
def test_numbering_leaves_ids_and_words_and_makes_names_unique(items):
    numbered = number_repeated_names(items)
    assert [(i.item_id, i.label, i.attributes) for i in numbered] == [(i.item_id, i.label, i.attributes) for i in items]
    assert len({item.name for item in numbered}) == len(items)


def test_a_prompt_reads_back_as_the_graph_that_it_was_built_from():
    text = "red circle left of blue square; green star above red circle"
    graph = parse_prompt(text, PREDICATES)
    assert graph.prompt == text
    assert graph.items == (RED_CIRCLE, BLUE_SQUARE, GREEN_STAR)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is empty"),
        (" ; ", "it is empty"),
        ("red circle near blue square", "contains no relation; the relations are left of, right of, above, below"),
        ("red circle above", "needs an object on both sides of 'above'"),
        ("above red circle", "needs an object on both sides of 'above'"),
        ("red circle above red circle", "relates item 0 to itself"),
    ],
)
def test_a_prompt_that_is_no_scene_graph_is_refused(text, problem):
    with pytest.raises(ValueError, match=problem):
        parse_prompt(text, PREDICATES)
