"""Prompts that ask for more than relations, as people write them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenes.kinds.kinds import Attribute, Count, FreeQuestion, Other, Presence
from scenes.requirements_reader import Impossible, NotUnderstood
from scenes.scene_graph import AnyRequirement, Requirement
from scenes.vocabulary.free_reader import any_of_parts, read_any
from scenes.vocabulary.vocabulary import FOUR_RELATIONS
from scenes.wording.phrasing import ARTICLE, JOINS, LEAD_IN, NEGATIONS, PRONOUNS
from scenes.wording.relations import RELATION

CAT, DOG = Presence("cat"), Presence("dog")


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a red circle", [Presence("red circle")]),
        ("two cats", [Count("cat", 2)]),
        ("three red apples", [Count("red apple", 3)]),
        ("exactly 12 red apples", [Count("red apple", 12)]),
        ("2 x glasses; 3x spectacles", [Count("glasses", 2), Count("spectacles", 3)]),
        ("the table is wooden", [Attribute("table", "wooden")]),
        ("The apples are dark red.", [Attribute("apples", "dark red")]),
        ("the sky should be blue and clear", [Attribute("sky", "blue and clear")]),
        ("? Is the man smiling?", [FreeQuestion("Is the man smiling?")]),
        ("?is it day", [FreeQuestion("is it day?")]),
        ("a cat and a dog", [CAT, DOG]),
        ("a cat, a dog", [CAT, DOG]),
        ("two cats and three dogs", [Count("cat", 2), Count("dog", 3)]),
        ("a black and white cat", [Presence("black and white cat")]),
        ("Please draw a picture of a cat.", [CAT]),
        ("there are three cats", [Count("cat", 3)]),
        ("show two cats", [Count("cat", 2)]),
        ("a cat; the Cat is black; two dogs", [CAT, Attribute("cat", "black"), Count("dog", 2)]),
        ("a cat on a mat; two dogs", [Requirement("cat", "on", "mat"), Count("dog", 2)]),
        ("a cat on a mat and the mat is red", [Requirement("cat", "on", "mat"), Attribute("mat", "red")]),
        ("1. a cat\n2. ? Is it day?\n- two mice", [CAT, Count("mouse", 2), FreeQuestion("Is it day?")]),
        ("a cat; A CAT; the cat", [CAT]),
    ],
)
def test_what_people_write_is_read(prompt: str, expected: list[AnyRequirement]) -> None:
    graph = read_any(prompt)
    assert list(graph.requirements) == expected
    assert read_any(graph.prompt).requirements == graph.requirements


@pytest.mark.parametrize(
    ("prompt", "words", "reason"),
    [
        ("cat", "cat", "'a red fox', 'two foxes'"),
        ("a cat and a dog on a sofa", "a cat", "no relation is known in it, as in the rest of its sentence"),
        ("two cats, a dog on a sofa", "two cats", "no relation is known in it, as in the rest of its sentence"),
        ("no cats", "no cats", "'no' cannot be required"),
        ("0 cats", "0 cats", "ask for 1 to 100"),
        ("it is red", "it is red", "'it'"),
        ("the cat is it", "the cat is it", "because of 'it'"),
        ("a cat or dog", "a cat or dog", "because of 'or'"),
        ("the cat is not black", "the cat is not black", "'not' cannot be required"),
        ("? ", "? ", "no question follows"),
        ("? <b>?", "? <b>?", "because of '<'"),
        ("? " + "x" * 201, "? " + "x" * 201, "at most 200"),
        ("the cat is " + "x" * 61, "the cat is " + "x" * 61, "at most 60"),
    ],
)
def test_what_is_no_requirement_is_refused_with_its_reason(prompt: str, words: str, reason: str) -> None:
    with pytest.raises(NotUnderstood) as caught:
        read_any(prompt)
    assert caught.value.not_understood[0][0] == words
    assert reason in caught.value.not_understood[0][1]


def test_two_counts_of_one_item_cannot_both_hold() -> None:
    with pytest.raises(Impossible, match="these two cannot both hold: two cats; three cats"):
        read_any("two cats; three Cats")


def test_the_shape_world_refuses_what_its_models_do_not_know() -> None:
    for prompt in ("a red circle", "two red circles", "the circle is red", "? Is it red?"):
        with pytest.raises(NotUnderstood, match="relation"):
            FOUR_RELATIONS.read(prompt)
        with pytest.raises(NotUnderstood, match=r"requirements: understood: red circle above star\."):
            FOUR_RELATIONS.graph([("red circle", "above", "star"), prompt])


def test_requirements_that_are_given_one_by_one_may_be_texts() -> None:
    graph = any_of_parts([("fox", "leaping over", "fence"), "two foxes", "? Is it day?"])
    assert graph.related == (Requirement("fox", "leaping over", "fence"),)
    assert graph.others == (Count("fox", 2), FreeQuestion("Is it day?"))
    with pytest.raises(NotUnderstood, match="requirements: understood: nothing"):
        any_of_parts([" "])


def test_the_diffuser_is_told_a_question_without_its_mark() -> None:
    assert read_any("a man; ? Is he smiling?").drawing == "a man; Is he smiling?"
    relations = read_any("a cat on a mat; a dog near the cat")
    assert relations.drawing == relations.prompt


LETTERS = st.sampled_from("abcdefghijklmnopqrstuvwxyzäéñбв猫")
RESERVED = JOINS | PRONOUNS | NEGATIONS | {"please", "thanks", "is", "are", "or", "x"}


def is_plain(word: str) -> bool:
    alone = RELATION.search(word) or LEAD_IN.match(f"{word} ") or ARTICLE.match(f"{word} ")
    return not alone and word.lower() not in RESERVED


WORD = st.text(LETTERS, min_size=2, max_size=6).filter(is_plain)
NAME = st.lists(WORD, min_size=1, max_size=3).map(" ".join).filter(lambda name: not RELATION.search(name))
OTHERS = (
    st.builds(Presence, NAME)
    | st.builds(Count, NAME, st.integers(1, 100))
    | st.builds(Attribute, NAME, NAME)
    | st.builds(FreeQuestion, NAME.map(lambda words: f"{words}?"))
)


@settings(max_examples=300, deadline=None)
@given(st.lists(OTHERS, min_size=1, max_size=5))
def test_the_text_of_requirements_reads_as_these_requirements(asked: list[Other]) -> None:
    counted = [one for one in asked if isinstance(one, Count)]
    if len({one.item for one in counted}) < len(set(counted)):
        return  # two counts of one item
    questions = [one for one in asked if isinstance(one, FreeQuestion)]
    expected = [*(one for one in asked if one not in questions), *questions]
    graph = read_any("; ".join(one.text for one in asked))
    assert list(graph.requirements) == list(dict.fromkeys(expected))
    assert read_any(graph.prompt) == graph
