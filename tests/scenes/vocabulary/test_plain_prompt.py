"""What a VLM is asked to make of a plain prompt, and what is taken of its answer."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenes.json_answers import UnreadableAnswer
from scenes.vocabulary.plain_prompt import MOST_READ, plain_request, read_plain
from scenes.vocabulary.vocabulary import ANY_RELATION, FOUR_RELATIONS

EVERYTHING: list[Any] = [
    {"kind": "relation", "subject": "red fox", "relation": "on top of", "object": "wooden table"},
    {"kind": "presence", "item": "a lamp"},
    {"kind": "count", "item": "apples", "number": 3},
    {"kind": "attribute", "item": "table", "attribute": "old"},
    {"kind": "question", "question": "Is the fox asleep?"},
]
TEXTS = ["red fox on top of wooden table", "a lamp", "three apples", "table is old", "? Is the fox asleep?"]


def texts(answer: str) -> list[str]:
    graph = read_plain(answer, ANY_RELATION).graph
    return [] if graph is None else [one.text for one in graph.requirements]


def test_every_kind_is_asked_for_and_read() -> None:
    request = plain_request("A fox sleeps <b> on a table", ANY_RELATION)
    for entry in EVERYTHING:
        assert f'"kind": "{entry["kind"]}"' in request
    assert "A fox sleeps ‹b> on a table\n</description>" in request
    assert texts(json.dumps({"requirements": EVERYTHING})) == TEXTS


@pytest.mark.parametrize(
    "answer",
    [
        "Sure!\n```json\n" + json.dumps({"requirements": EVERYTHING}) + "\n```",
        "<think>{}</think>" + json.dumps({"requirements": EVERYTHING}),
        "\n".join(json.dumps(entry) for entry in EVERYTHING),
        json.dumps({"requirements": TEXTS}),
        str({"requirements": EVERYTHING}),
        json.dumps({"requirements": [*EVERYTHING[:2], {"item": "apple", "number": "three"}, *EVERYTHING[3:]]}),
    ],
)
def test_answers_are_read_leniently(answer: str) -> None:
    assert texts(answer) == TEXTS


def test_what_cannot_be_required_is_said() -> None:
    entries = [
        *EVERYTHING[2:3],
        {"kind": "count", "item": "apple", "number": 4},
        {"kind": "presence", "item": "<b>"},
        {"kind": "presence"},
        {"item": "apple", "number": True},
        {"item": "apple", "number": 1000},
        7,
    ]
    found = read_plain(json.dumps({"requirements": entries}), ANY_RELATION)
    assert found.graph is not None
    assert found.graph.prompt == "three apples"
    reasons = [reason for _, reason in found.unused]
    for reason, words in zip(
        reasons,
        ["both hold", "because of '<'", "no item", "is no number", "ask for 1 to", "no req"],
        strict=True,
    ):
        assert words in reason


def test_the_shape_world_takes_its_relations_alone() -> None:
    request = plain_request("circles", FOUR_RELATIONS)
    assert '"relation": "left of"' in request
    assert "The only relations are: left of, right of, above, below." in request
    assert "count" not in request
    shape = {"subject": "red circle", "relation": "to the left of", "object": "blue square"}
    found = read_plain(json.dumps({"requirements": [shape, *EVERYTHING[:2]]}), FOUR_RELATIONS)
    assert found.graph is not None
    assert found.graph.prompt == "red circle left of blue square"
    assert [words for words, _ in found.unused] == ["relation red fox on top of wooden table", "presence a lamp"]


def test_prompts_and_answers_are_bounded() -> None:
    for text, reason in (("", "empty"), ("x" * 4001, "at most 4000")):
        with pytest.raises(ValueError, match=reason):
            plain_request(text, ANY_RELATION)
    many = [{"item": f"cat q{chr(97 + k // 26)}{chr(97 + k % 26)}"} for k in range(MOST_READ + 3)]
    found = read_plain(json.dumps({"requirements": many}), ANY_RELATION)
    assert found.graph is not None
    assert len(found.graph.requirements) == MOST_READ
    assert found.unused == (("3 more", f"at most {MOST_READ} are read"),)


LISTS = st.recursive(st.none() | st.text() | st.integers(), st.lists)


@given(st.text() | LISTS.map(lambda value: json.dumps({"requirements": value})))
def test_any_answer_is_read_or_unreadable(answer: str) -> None:
    try:
        found = read_plain(answer, ANY_RELATION)
    except UnreadableAnswer:
        return
    assert found.graph is None or found.graph.requirements
