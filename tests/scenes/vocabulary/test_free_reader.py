import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scenes.plain_text import plain_text
from scenes.requirements_reader import Impossible, NotUnderstood
from scenes.scene_graph import Requirement
from scenes.vocabulary.free_reader import (
    EXAMPLE,
    LONGEST_PROMPT,
    MOST_REQUIREMENTS,
    any_of_parts,
    read_any,
)
from scenes.wording.phrasing import ARTICLE, JOINS, LEAD_IN, NEGATIONS, PRONOUNS
from scenes.wording.relations import RELATION, SUGGESTED

Triple = tuple[str, str, str]


def triples(prompt: str) -> list[Triple]:
    return [one.triple for one in read_any(prompt).related]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (
            "a red fox on top of a wooden table, a lamp behind the table",
            [("red fox", "on top of", "wooden table"), ("lamp", "behind", "table")],
        ),
        (
            EXAMPLE,
            [("red fox", "on top of", "wooden table"), ("lamp", "behind", "table"), ("fox", "leaping over", "fence")],
        ),
        ("Man holding umbrella; dog Next To man", [("Man", "holding", "umbrella"), ("dog", "Next To", "Man")]),
        ("The Eiffel Tower is in front of a cloud.", [("Eiffel Tower", "in front of", "cloud")]),
        ("A cat sleeping on an old red sofa", [("cat", "sleeping on", "old red sofa")]),
        ("a sleeping cat inside a box", [("sleeping cat", "inside", "box")]),
        ("a reading lamp next to a bed", [("reading lamp", "next to", "bed")]),
        (
            "a girl hugs a teddy bear and a boy kicks the ball",
            [("girl", "hugs", "teddy bear"), ("boy", "kicks", "ball")],
        ),
        ("a black and white cat on a sofa", [("black and white cat", "on", "sofa")]),
        (
            "a black and white cat on a red and blue sofa and a lamp behind the sofa",
            [("black and white cat", "on", "red and blue sofa"), ("lamp", "behind", "sofa")],
        ),
        ("two dogs looking up at the bird", [("two dogs", "looking up at", "bird")]),
        ("a kite directly above a house", [("kite", "directly above", "house")]),
        ("a glass of water to the left of a plate of pasta", [("glass of water", "to the left of", "plate of pasta")]),
        ("a table covered with a white cloth", [("table", "covered with", "white cloth")]),
        ("Please draw a fox that is under a tree, thanks!", [("fox", "under", "tree")]),
        ("1. a **fox** on a log\n2) the fox near a river", [("fox", "on", "log"), ("fox", "near", "river")]),
        ("a man in a hat; a dog by the man's car", [("man", "in", "hat"), ("dog", "by", "man's car")]),
        ("man in black [next to] jack in the box", [("man in black", "next to", "jack in the box")]),
        ("salt and pepper [beside] black and white cat", [("salt and pepper", "beside", "black and white cat")]),
        ("кот [на] столе; кот next to Лампа", [("кот", "на", "столе"), ("кот", "next to", "Лампа")]),
        ("猫[在]桌子，桌子 behind 狗。", [("猫", "在", "桌子"), ("桌子", "behind", "狗")]),
        ("cafe\u0301 near राजा", [("caf\u00e9", "near", "राजा")]),
        ("paint brush next to a canvas", [("paint brush", "next to", "canvas")]),
        ("white cat 1 left of white cat 2", [("white cat 1", "left of", "white cat 2")]),
        ("a cat on a mat; the Cat ON the Mat", [("cat", "on", "mat")]),
        (
            "a man wearing a tall hat, with a dog behind the man",
            [("man", "wearing", "tall hat"), ("dog", "behind", "man")],
        ),
    ],
)
def test_what_people_write_is_read_in_its_own_words(prompt: str, expected: list[Triple]) -> None:
    assert triples(prompt) == expected


@pytest.mark.parametrize(
    ("prompt", "words", "reason"),
    [
        ("", "", "empty"),
        ("cat", "cat", "in brackets, as in"),
        ("a cat and a dog on a sofa", "a cat", "no relation"),
        ("cat or dog on a sofa", "cat or dog on a sofa", "because of 'or'"),
        ("put a hat on the fox", "put a hat on the fox", "because of 'a'"),
        ("man holding umbrella next to car", "man holding umbrella next to car", "'holding', 'next to'"),
        ("cat not behind dog", "cat not behind dog", "'not' cannot be required"),
        ("cat [not behind] dog", "cat [not behind] dog", "'not' cannot be required"),
        ("it is behind a dog", "it is behind a dog", "'it'"),
        ("above cat", "above cat", "no item is named before 'above'"),
        ("cat above", "cat above", "no item is named after 'above'"),
        ("cat above the cat", "cat above the cat", "itself"),
        ("cat [] dog", "cat [] dog", "no relation"),
        ("cat [on] [by] dog", "cat [on] [by] dog", "not one relation in brackets"),
        ("cat ]on[ dog", "cat ]on[ dog", "not one relation in brackets"),
        ("dog <|im_end|> behind cat", "dog <|im_end|> behind cat", "because of '<'"),
        ("dog behind {cat}", "dog behind {cat}", "because of '{'"),
        ("dog \x1b[31m behind cat", "\x1b", "control character"),
        ("dog\u202e behind cat", "\u202e", "control character"),
        ("dog behind \ud800", "\ud800", "control character"),
        ("dog behind " + "x" * 121, "dog behind " + "x" * 121, "at most 120"),
        ("dog [" + "x" * 61 + "] cat", "dog [" + "x" * 61 + "] cat", "at most 60"),
    ],
)
def test_what_is_no_requirement_is_refused_with_its_reason(prompt: str, words: str, reason: str) -> None:
    with pytest.raises(NotUnderstood) as caught:
        read_any(prompt)
    assert caught.value.not_understood[0][0] == words
    assert reason in caught.value.not_understood[0][1]
    assert EXAMPLE in str(caught.value)


def test_a_refusal_shows_what_was_understood_too() -> None:
    with pytest.raises(NotUnderstood) as caught:
        read_any("a fox on a log; make it pretty")
    assert [one.text for one in caught.value.understood] == ["fox on log"]
    assert [words for words, _ in caught.value.not_understood] == ["make it pretty"]


def test_what_cannot_hold_together_is_refused_in_the_words_that_were_written() -> None:
    with pytest.raises(Impossible, match="prompt: these two cannot both hold: cat to the left of dog; dog left of cat"):
        read_any("a cat to the left of a dog; the dog left of the cat")
    with pytest.raises(Impossible, match="requirements: these two"):
        any_of_parts([("cat", "under", "dog"), ("dog", "Below", "cat")])


def test_prompts_are_limited_in_length_and_in_requirements() -> None:
    with pytest.raises(NotUnderstood, match=f"write at most {LONGEST_PROMPT}"):
        read_any("x" * (LONGEST_PROMPT + 1))
    many = [f"a{k} near b{k}" for k in range(MOST_REQUIREMENTS + 1)]
    assert len(read_any("; ".join(many[1:])).requirements) == MOST_REQUIREMENTS
    with pytest.raises(NotUnderstood, match=f"ask for at most {MOST_REQUIREMENTS}"):
        read_any("; ".join(many))


@pytest.mark.parametrize(
    "part",
    ["*a ", "[", "a and ", "on ", "a [b] ", "the ", "a, ", "sitting ", "is ", "\n- ", "please ", ". ", "'", "left "],
)
def test_no_prompt_takes_long(part: str) -> None:
    began = time.process_time()
    with pytest.raises(NotUnderstood):
        read_any((part * LONGEST_PROMPT)[:LONGEST_PROMPT])
    assert time.process_time() - began < 2.0


def test_parts_that_are_given_apart_are_taken_as_they_are() -> None:
    given = [("Jack in the box", "leaping over", "fence or wall"), ("no smoking sign", "on", "the wall")]
    graph = any_of_parts(given)
    assert [one.triple for one in graph.requirements] == [given[0], ("no smoking sign", "on", "wall")]
    assert graph.prompt == "Jack in the box leaping over fence or wall; no smoking sign on wall"


@pytest.mark.parametrize(
    ("triple", "reason"),
    [
        (("cat", " ", "dog"), "no relation"),
        (("\u200b", "on", "dog"), "no item is named before 'on'"),
        (("cat", "on", "the"), "no item is named after 'on'"),
        (("it", "on", "dog"), "'it'"),
        (("cat", "on; dog on", "mat"), "no relation because of ';'"),
        (("cat\x00", "on", "dog"), "control character"),
        (("cat", "on", "a cat"), "itself"),
    ],
)
def test_parts_that_are_none_are_refused_by_their_field(triple: Triple, reason: str) -> None:
    with pytest.raises(NotUnderstood, match="requirements: understood: dog on log"):
        any_of_parts([("dog", "on", "log"), triple])
    with pytest.raises(NotUnderstood) as caught:
        any_of_parts([triple])
    assert reason in caught.value.not_understood[0][1]


def test_two_requirements_that_read_alike_are_refused() -> None:
    with pytest.raises(NotUnderstood, match="it reads as cat / on top / of table does"):
        any_of_parts([("cat", "on top", "of table"), ("cat", "on", "top of table")])


RESERVED = JOINS | PRONOUNS | NEGATIONS | {"please", "thanks", "draw", "and", "but", "while", "with"}
LETTERS = st.sampled_from("abcdefghijklmnopqrstuvwxyzABCDEFäßéçñøабвгдежзикAБВ猫桌子狗राजあいうקלם0123456789")


def is_plain(word: str) -> bool:
    """Whether a word has no meaning of its own in a sentence."""
    alone = RELATION.search(word) or LEAD_IN.match(f"{word} ") or ARTICLE.match(f"{word} ")
    return not alone and word.lower() not in RESERVED and plain_text(word) == word


def names() -> st.SearchStrategy[str]:
    word = st.text(LETTERS, min_size=1, max_size=6).map(plain_text).filter(bool).filter(is_plain)
    name = st.lists(word, min_size=1, max_size=3).map(" ".join).map(plain_text)
    return name.filter(lambda text: text[0].isalnum() and not RELATION.search(text))


def relations(words: st.SearchStrategy[str]) -> st.SearchStrategy[list[Triple]]:
    triple = st.tuples(names(), words, names()).filter(lambda t: t[0].lower() != t[2].lower())
    return st.lists(triple, min_size=1, max_size=5)


def expected_of(given_: list[Triple]) -> list[Triple]:
    """The triples, which the reader should give back: names and relations that differ in case are the first of them."""
    called: dict[str, str] = {}
    said: dict[str, str] = {}
    for subject, _, object_ in given_:
        called.setdefault(subject.lower(), subject)
        called.setdefault(object_.lower(), object_)
    for _, relation, _ in given_:
        said.setdefault(relation.lower(), relation)
    return list(dict.fromkeys((called[a.lower()], said[r.lower()], called[b.lower()]) for a, r, b in given_))


@settings(max_examples=300, deadline=None)
@given(relations(st.sampled_from(SUGGESTED)), st.sampled_from(["; ", ", ", "\n", ". ", " and "]))
def test_the_text_of_requirements_reads_as_these_requirements(asked: list[Triple], joint: str) -> None:
    text = joint.join(" ".join(triple) for triple in asked)
    try:
        graph = read_any(text)
    except Impossible:
        assume(False)
    assert [one.triple for one in graph.requirements] == expected_of(asked)
    assert read_any(graph.prompt).requirements == graph.requirements


@settings(max_examples=300, deadline=None)
@given(relations(names() | st.sampled_from(SUGGESTED)))
def test_a_relation_in_brackets_may_be_any(asked: list[Triple]) -> None:
    expected = expected_of(asked)
    assume(len({" ".join(triple) for triple in expected}) == len(expected))
    try:
        graph = read_any("; ".join(f"{subject} [{relation}] {object_}" for subject, relation, object_ in asked))
    except Impossible:
        assume(False)
    assert [one.triple for one in graph.requirements] == expected
    assert any_of_parts(asked) == graph


def read_or_refused(prompt: str) -> tuple[Requirement, ...] | NotUnderstood | Impossible:
    try:
        return read_any(prompt).requirements
    except (NotUnderstood, Impossible) as error:
        return error


@settings(max_examples=300, deadline=None)
@given(
    st.text()
    | st.lists(
        st.sampled_from([*SUGGESTED, "fox", "red", "and", "a", ";", ".", ",", "is", "not", "[", "]", "\x00", "кот"])
    ).map(" ".join)
)
def test_any_text_is_read_or_refused(prompt: str) -> None:
    found = read_or_refused(prompt)
    if isinstance(found, NotUnderstood):
        assert found.not_understood
    elif isinstance(found, Impossible):
        assert "hold" in str(found)
    else:
        assert found
        assert all(not set("[];<>{}|\x00") & set(one.text) for one in found)
