import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenes.laion_sg_protocol import (
    UnreadableExtraction,
    VlmExtraction,
    extraction_request,
    normalise,
    parse_extraction,
    reminder,
    score_extraction,
)
from scenes.scene_graph import Item, Relation, SceneGraph, number_repeated_names, parse_prompt
from scenes.scene_graph_iou import SceneScores, score_observed
from scenes.shape_world import PREDICATES

GRAPH = parse_prompt("red circle left of blue square; green star above red circle", PREDICATES)
LEFT = ("red circle", "left of", "blue square")
ABOVE = ("green star", "above", "red circle")
FOUND = VlmExtraction(
    frozenset({"red circle", "blue square", "green star"}), frozenset({"left of", "above"}), frozenset({LEFT, ABOVE})
)

AS_ASKED = """{"items": ["red circle", "blue square", "green star"], "relations": ["left of", "above"],
"triples": [{"item1": "red circle", "relation": "left of", "item2": "blue square"},
            {"item1": "green star", "relation": "above", "item2": "red circle"}]}"""
LISTS = """{"items": ["red circle", "blue square", "green star"], "relations": ["left of", "above"],
"triples": [["red circle", "left of", "blue square"], ["green star", "above", "red circle"]]}"""

READABLE = {
    "as asked for": AS_ASKED,
    "triples as lists": LISTS,
    "in a code fence": f"```json\n{AS_ASKED}\n```",
    "in a fence without a language": f"```\n{LISTS}\n```",
    "between sentences": f"Sure! Here's the scene graph:\n\n{AS_ASKED}\n\nLet me know if it's {{fine}}.",
    "after thinking": f"<think>Maybe {{'triples': []}}? No.</think>\n{AS_ASKED}",
    "after an example": '{"items": ["cat"], "triples": [["cat", "on", "mat"]]}\nNow the image:\n' + AS_ASKED,
    "trailing commas": LISTS.replace("]]", "],]").replace("]}", "],}"),
    "single quotes": LISTS.replace('"', "'"),
    "typographic quotes": re.sub('"([^"]*)"', r"“\1”", AS_ASKED),
    "other keys": AS_ASKED.replace("item1", "subject")
    .replace('"relation"', '"predicate"')
    .replace("item2", "object")
    .replace('"items"', '"objects"')
    .replace('"relations"', '"predicates"'),
    "keys in capitals": AS_ASKED.replace("item1", "Item1").replace('"triples"', '"TRIPLES"').replace("items", "Items"),
    "keys with hyphens": AS_ASKED.replace("item1", "item-1").replace("item2", "item 2"),
    "names in another case": AS_ASKED.replace("red circle", "Red  Circle").replace("left of", "LEFT_OF"),
    "underscores": AS_ASKED.replace("red circle", "red_circle").replace("left of", "left_of"),
    "items as objects": AS_ASKED.replace(
        '["red circle", "blue square"', '[{"name": "red circle"}, {"item": "blue square"}'
    ),
    "items with attributes": AS_ASKED.replace(
        '["red circle",', '[{"item_id": 0, "label": "circle", "attributes": ["red"]},'
    ),
    "in a wrapper": f'{{"scene_graph": {AS_ASKED}}}',
    "without the relations": '{"items": ["green star"], "triples": [["red circle", "left of", "blue square"], '
    '["green star", "above", "red circle"]]}',
    "relations that are the triples": """{"objects": ["green star"], "relations": [
        {"subject": "red circle", "relation": "left of", "object": "blue square"},
        {"subject": "green star", "relation": "above", "object": "red circle"}]}""",
    "relationships": """{"Objects": ["green star"], "Relationships": [
        {"subject": "red circle", "predicate": "left of", "object": "blue square"},
        {"subject": "green star", "predicate": "above", "object": "red circle"}]}""",
    "twice the same": LISTS.replace('[["red', '[["Red circle", "left of", "blue square"], ["red'),
}

UNREADABLE = {
    "": "the answer is empty",
    "I'm sorry, but I can't help with that.": "no JSON object",
    "red circle left of blue square": "no JSON object",
    '[["red circle", "left of", "blue square"]]': "no JSON object",
    AS_ASKED[:-40]: "not closed",
    AS_ASKED[: AS_ASKED.index("triples")]: "not closed",
    "{}": "'triples' is missing, the keys are none",
    '{"items": ["red circle"]}': "'triples' is missing, the keys are 'items'",
    '{"item1": "a", "relation": "b", "item2": "c"}': "'triples' is missing",
    '{"triples": [["a", "b", "c"]]}': "'items' is missing",
    '{"items": null, "triples": []}': "'items' is missing",
    '{"items": [], "triples": null}': "'triples' is missing",
    '{"items": "red circle", "triples": []}': "'items' is text instead of a list",
    '{"items": [], "triples": "none"}': "'triples' is text instead of a list",
    '{"items": [], "triples": true}': "'triples' is true or false instead of a list",
    '{"items": ["a"], "triples": [["a", "left of"]]}': "2 parts instead of 3",
    '{"items": ["a"], "triples": [["a", "left", "of", "b"]]}': "4 parts instead of 3",
    '{"items": ["a"], "triples": ["a left of b"]}': "a triple is text",
    '{"items": ["a"], "triples": [{"item1": "a", "item2": "b"}]}': "a triple lacks 'relation'",
    '{"items": ["a"], "triples": [{"item1": "", "relation": "r", "item2": "b"}]}': "neither letter nor digit",
    '{"items": [0], "triples": [{"item1": 0, "relation": "r", "item2": 1}]}': "is a number instead of a name",
    '{"items": [["a"]], "triples": []}': "an entry of 'items' is a list",
    '{"items": [{"colour": "red"}], "triples": []}': "an entry of 'items' is missing",
    '{"items": [null], "triples": []}': "an entry of 'items' is missing",
    '{"items": [" "], "triples": []}': "neither letter nor digit",
    '{"items": ["..."], "relations": ["..."], "triples": []}': "neither letter nor digit",
    '{"items": [], "relations": {"a": 1}, "triples": [["...", "...", "..."]]}': "neither letter nor digit",
    '{"items": [], "relations": [3], "triples": []}': "an entry of 'relations' is a number",
}


@pytest.mark.parametrize("text", READABLE.values(), ids=READABLE.keys())
def test_recorded_answers_are_read(text):
    assert parse_extraction(text) == FOUND


@pytest.mark.parametrize(("text", "problem"), UNREADABLE.items())
def test_unreadable_answers_are_refused_with_what_is_wrong(text, problem):
    with pytest.raises(UnreadableExtraction) as caught:
        parse_extraction(text)
    assert problem in caught.value.problem


@given(st.text(max_size=200) | st.text(alphabet="{}[]\",:'\\ abitemsrlon", max_size=200))
def test_any_text_is_read_or_refused(text):
    try:
        found = parse_extraction(text)
    except UnreadableExtraction as error:
        assert error.problem  # noqa: PT017
    else:
        assert all(normalise(name) == name != "" for name in found.items | found.relations)


NAMES = st.text(min_size=1, max_size=10).map(normalise).filter(lambda name: any(c.isalnum() for c in name))


@given(st.frozensets(NAMES, max_size=4), st.frozensets(st.tuples(NAMES, NAMES, NAMES), max_size=4))
def test_what_was_written_in_the_asked_for_form_is_read_back(items, triples):
    rows = [dict(zip(("item1", "relation", "item2"), triple, strict=True)) for triple in triples]
    found = parse_extraction(json.dumps({"items": list(items), "relations": [], "triples": rows}))
    assert found.triples == triples
    assert found.items == items | {name for s, _, o in triples for name in (s, o)}
    assert found.relations == {predicate for _, predicate, _ in triples}


def test_empty_lists_say_that_nothing_is_there():
    found = parse_extraction('{"items": [], "relations": [], "triples": []}')
    assert found == VlmExtraction(frozenset(), frozenset(), frozenset())
    assert score_extraction(GRAPH, found) == SceneScores(0.0, 0.0, 0.0, 0.0)


def test_the_request_lists_items_and_relations_and_gives_no_triple_away():
    request = extraction_request(GRAPH)
    assert 'Items: "blue square", "green star", "red circle"\nRelations: "above", "left of"\n' in request
    for requirement in GRAPH.requirements:
        assert requirement.text not in request
    backwards = SceneGraph("b", GRAPH.items[::-1], GRAPH.relations[::-1])
    assert extraction_request(backwards) == request
    turned = parse_prompt("blue square left of red circle; red circle above green star", PREDICATES)
    assert extraction_request(turned) == request


def test_numbered_names_are_explained():
    items = number_repeated_names((Item(0, "cat", ("white",)), Item(1, "cat", ("white",)), Item(2, "mat")))
    request = extraction_request(SceneGraph("cats", items, (Relation(0, "on", 2), Relation(1, "beside", 2))))
    assert '"white cat 1", "white cat 2"' in request
    assert "differ only by a number" in request
    assert "differ only by a number" not in extraction_request(GRAPH)


def test_a_reminder_says_what_was_wrong_and_repeats_the_form():
    text = reminder("a triple lacks 'relation'")
    assert "a triple lacks 'relation'" in text
    form = text[text.index("{") :]
    assert json.loads(form).keys() == {"items", "relations", "triples"}
    with pytest.raises(UnreadableExtraction):  # whoever repeats the form has not answered
        parse_extraction(form)


def test_scores_are_intersection_over_union_of_what_came_back():
    answer = """{"items": ["red circle", "blue square", "tree"], "relations": ["left of", "beside"],
        "triples": [["red circle", "left of", "blue square"], ["tree", "beside", "blue square"]]}"""
    scores = score_extraction(GRAPH, parse_extraction(answer))
    assert scores.sg_iou == pytest.approx(1 / 3)
    assert scores.entity_iou == pytest.approx(2 / 4)
    assert scores.relation_iou == pytest.approx(1 / 3)
    assert scores.satisfied == pytest.approx(1 / 2)


def test_scores_are_those_of_score_observed_where_the_relations_are_those_of_the_triples():
    for triples in ([], [LEFT], [LEFT, ABOVE], [LEFT, ("blue square", "above", "red circle")]):
        names = {name for s, _, o in triples for name in (s, o)}
        found = VlmExtraction(frozenset(names), frozenset(p for _, p, _ in triples), frozenset(triples))
        assert score_extraction(GRAPH, found) == score_observed(GRAPH, names, triples)


def test_spelling_of_the_record_does_not_count():
    items = (Item(0, "Circle", ("Red",)), Item(1, "Blue_Square"), Item(2, "green  star"))
    graph = SceneGraph("x", items, (Relation(0, "Left of", 1), Relation(2, "above", 0)))
    assert score_extraction(graph, FOUND) == SceneScores(1.0, 1.0, 1.0, 1.0)


def test_a_graph_without_relations_cannot_be_scored():
    with pytest.raises(ValueError, match="field 'relations' is empty"):
        score_extraction(SceneGraph("x", (Item(0, "cat"),), ()), FOUND)
