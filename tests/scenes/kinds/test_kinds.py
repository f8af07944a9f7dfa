"""Requirements that are no relations: their texts, what they state, and records of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from scenes.kinds.kinds import KINDS, Attribute, Count, FreeQuestion, Other, Presence, read_count
from scenes.kinds.records import OtherRecord, record_of
from scenes.scene_graph import Requirement
from scenes.wording.plurals import is_plural, plural, singular

WORDS = st.text(st.sampled_from("abcxyzsoiuehfv"), min_size=1, max_size=8)
NAMES = st.lists(WORDS | st.sampled_from(["x", "glass", "man", "two", "exactly"]), min_size=1, max_size=3).map(" ".join)


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("cat", "cats"), ("red apple", "red apples"), ("box", "boxes"), ("dish", "dishes"), ("glass", "glasses"),
        ("bus", "buses"), ("house", "houses"), ("city", "cities"), ("toy", "toys"), ("old man", "old men"),
        ("woman", "women"), ("child", "children"), ("knife", "knives"), ("glove", "gloves"), ("sheep", "sheep"),
        ("tomato", "tomatoes"), ("photo", "photos"), ("cactus", "cacti"), ("mouse", "mice"),
    ],
)  # fmt: skip
def test_names_are_counted_as_english_counts_them(one: str, many: str) -> None:
    assert (plural(one), singular(many), singular(one)) == (many, one, one)
    assert is_plural(many) == (one != many)


@pytest.mark.parametrize(
    ("requirement", "text", "statement"),
    [
        (Presence("red fox"), "a red fox", "the picture shows a red fox"),
        (Presence("apple"), "an apple", "the picture shows an apple"),
        (Presence("red apples"), "some red apples", "the picture shows some red apples"),
        (Count("red fox", 2), "two red foxes", "the picture shows exactly two red foxes"),
        (Count("man", 1), "one man", "the picture shows exactly one man"),
        (Count("fox", 34), "34 foxes", "the picture shows exactly 34 foxes"),
        (Count("glasses", 2), "2 x glasses", "the picture shows exactly 2 x glasses"),
        (Attribute("table", "wooden"), "table is wooden", "table is wooden"),
        (Attribute("apples", "red"), "apples are red", "apples are red"),
        (FreeQuestion("Is it day?"), "? Is it day?", 'the answer to "Is it day?" is yes'),
    ],
)
def test_each_kind_says_what_it_requires(requirement: Other, text: str, statement: str) -> None:
    assert (requirement.text, requirement.statement) == (text, statement)
    assert requirement.kind in KINDS[1:]
    assert record_of(requirement)["kind"] == requirement.kind


def test_a_relation_is_what_it_was() -> None:
    relation = Requirement("cat", "on", "mat")
    assert (relation.kind, relation.text, relation.statement) == ("relation", "cat on mat", "cat on mat")
    assert (relation.items, relation.terms) == (("cat", "mat"), ("on",))


@given(NAMES, st.integers(1, 100))
def test_the_text_of_a_count_reads_as_this_count(name: str, number: int) -> None:
    assert read_count(Count(name, number).text) == Count(name, number)


@pytest.mark.parametrize("words", ["0 cats", "101 cats", "9999 x cat"])
def test_what_nobody_can_count_is_refused(words: str) -> None:
    with pytest.raises(ValueError, match="ask for 1 to 100"):
        read_count(words)


@given(
    st.builds(Presence, NAMES)
    | st.builds(Count, NAMES, st.integers(1, 100))
    | st.builds(Attribute, NAMES, NAMES)
    | st.builds(FreeQuestion, NAMES)
)
def test_a_record_reads_as_its_requirement(requirement: Other) -> None:
    read = TypeAdapter(OtherRecord).validate_python(record_of(requirement)).requirement()
    assert read == requirement


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "smell", "item": "cat"},
        {"kind": "count", "item": "cat", "number": 0},
        {"kind": "count", "item": "cat", "number": True},
        {"kind": "presence", "item": "\u200b"},
        {"kind": "presence", "item": "cat", "number": 2},
        {"kind": "question"},
    ],
)
def test_a_record_of_another_form_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(OtherRecord).validate_python(record)
