import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenes.orders import contradictions
from scenes.requirements_reader import EXAMPLE, Impossible, NotUnderstood, read_requirements
from scenes.scene_graph import Requirement, parse_prompt
from scenes.shape_world import PREDICATES

WORDS = ("red", "blue", "small", "circle", "square", "star")


def texts(prompt: str, predicates: tuple[str, ...] = PREDICATES) -> list[str]:
    return [requirement.text for requirement in read_requirements(prompt, predicates).requirements]


def refusal(prompt: str) -> NotUnderstood:
    with pytest.raises(NotUnderstood) as caught:
        read_requirements(prompt, PREDICATES)
    return caught.value


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (EXAMPLE, ["red circle left of blue square", "green star above red circle"]),
        ("Red Circle LEFT OF blue square.", ["red circle left of blue square"]),
        (
            "A red circle is to the left of a blue square, and the green star is above the red circle.",
            ["red circle left of blue square", "green star above red circle"],
        ),
        ("Please draw a picture of a cat under the old wooden table", ["cat below old wooden table"]),
        (
            "There is a star over a moon. The moon should be on the right of a tree!",
            ["star above moon", "moon right of tree"],
        ),
        (
            "cat above dog while dog above bird but bird left of t-rex",
            ["cat above dog", "dog above bird", "bird left of t-rex"],
        ),
        ("cat above dog\ncat above dog", ["cat above dog"]),
    ],
)
def test_triples_and_sentences_are_read(prompt: str, expected: list[str]) -> None:
    assert texts(prompt) == expected


@pytest.mark.parametrize(
    ("prompt", "words", "reason"),
    [
        ("", "", "empty"),
        (" ;; . ", "", "empty"),
        ("a cat and a dog", "a cat and a dog", "no relation"),
        ("cat is not above dog", "cat is not above dog", "'not' cannot be required"),
        ("it is above a dog", "it is above a dog", "'it'"),
        ("a cat and a dog above a bird", "a cat and a dog above a bird", "because of"),
        ("cat above dog left of bird", "cat above dog left of bird", "2 relations"),
        ("cat above cat", "cat above cat", "itself"),
        ("cat above", "cat above", "no item is named after 'above'"),
        ("above cat", "above cat", "no item is named before 'above'"),
        ("<|im_end|> above cat", "<|im_end|> above cat", "letters, digits and hyphens"),
        ("one two three four five six seven above cat", "one two three four five six seven above cat", "at most 6"),
    ],
)
def test_what_is_no_requirement_is_refused_with_its_reason(prompt: str, words: str, reason: str) -> None:
    [(unread, why)] = refusal(prompt).not_understood
    assert unread == words
    assert reason in why


def test_a_refusal_shows_what_was_understood_too() -> None:
    error = refusal("red circle left of blue square; and make it pretty")
    assert [one.text for one in error.understood] == ["red circle left of blue square"]
    assert [text for text, _ in error.not_understood] == ["and make it pretty"]
    assert "understood: red circle left of blue square" in str(error)
    assert EXAMPLE in str(error)


def test_only_the_relations_of_the_models_are_read() -> None:
    assert texts("the cat sits on the mat", ("on", "on top of")) == ["cat on mat"]
    assert texts("a cat on top of a mat", ("on", "on top of")) == ["cat on top of mat"]
    with pytest.raises(NotUnderstood, match="the relations are on"):
        read_requirements("cat above mat", ("on",))


def names() -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join)


@given(st.lists(st.tuples(names(), st.sampled_from(PREDICATES), names()).filter(lambda t: t[0] != t[2]), min_size=1))
def test_triples_are_read_as_the_scenes_do(triples: list[tuple[str, str, str]]) -> None:
    prompt = "; ".join(" ".join(triple) for triple in triples)
    graph = parse_prompt(prompt, PREDICATES)
    if contradictions(graph):
        with pytest.raises(Impossible):
            read_requirements(prompt, PREDICATES)
    else:
        assert read_requirements(prompt, PREDICATES) == graph


def read_or_refused(prompt: str) -> tuple[Requirement, ...] | NotUnderstood | Impossible:
    try:
        return read_requirements(prompt, PREDICATES).requirements
    except (NotUnderstood, Impossible) as error:
        return error


@settings(max_examples=200)
@given(
    st.text()
    | st.lists(st.sampled_from([*PREDICATES, *WORDS, "and", "a", ";", ".", ",", "is", "not", "\x00"])).map(" ".join)
)
def test_any_text_is_read_or_refused(prompt: str) -> None:
    found = read_or_refused(prompt)
    if isinstance(found, NotUnderstood):
        assert found.not_understood
    elif isinstance(found, Impossible):
        assert "hold" in str(found)
    else:
        assert all(requirement.predicate in PREDICATES for requirement in found)
        assert all(";" not in r.subject + r.object and "not" not in r.text.split() for r in found)


BOTH = ["red circle left of blue square", "green star above red circle"]


@pytest.mark.parametrize(
    "prompt",
    [
        "a red circle to the left of a blue square and a green star above the red circle",
        "- Red circle LEFT OF blue square\n- green star above red circle",
        "1. a **red circle** left of `blue square`\n2) the green star is above a red circle, please",
        "Please draw:\n* a red circle left of a blue square\n* [ ] a green star above a red circle.",
        "Could you please show a red circle left of a blue square, and a green star above the red circle? Thank you!",
        "“Red circle” left of “blue square”; “green star” above “red circle”",
        "red\u200b circle left\u00a0of blue square;\ufeff green star above red circle",
        "I would like to see a red circle left of a blue square while a green star is above the red circle, thanks",
    ],
)
def test_how_people_write_is_read(prompt: str) -> None:
    assert texts(prompt) == BOTH


def test_letters_that_are_put_together_are_letters() -> None:
    assert texts("cafe\u0301 left of राजा") == ["caf\u00e9 left of राजा"]
    assert texts("caf\u00e9 left of राजा") == texts("CAFE\u0301 left of राजा")


@pytest.mark.parametrize(
    "prompt", ["cat left of dog; dog left of cat", "cat left of dog. The cat is to the right of the dog."]
)
def test_what_cannot_hold_together_is_refused_with_both(prompt: str) -> None:
    with pytest.raises(Impossible, match="these two cannot both hold: cat left of dog; "):
        read_requirements(prompt, PREDICATES)
