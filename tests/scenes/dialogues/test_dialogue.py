"""Dialogues by name, and the words of the general one."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from pydantic import ValidationError

from scenes import dialogue as shapes
from scenes.dialogue import UnparsableAnswer
from scenes.dialogues.dialogue import SHAPES, load_dialogue
from scenes.dialogues.general import SYSTEM, General, shown
from scenes.dialogues.texts import Texts
from scenes.entry_point import EntryPointError
from scenes.scene_graph import Requirement

LEFT, ABOVE = Requirement("white cat 1", "left of", "dog"), Requirement("white cat 2", "sitting on", "red car")


def test_the_shapes_dialogue_is_the_small_models_own_language() -> None:
    assert load_dialogue("shapes") is SHAPES
    assert SHAPES.system is None
    assert SHAPES.request((LEFT, ABOVE), (ABOVE,)) == shapes.actor_request((LEFT, ABOVE), (ABOVE,))
    assert SHAPES.question(LEFT) == shapes.checker_question(LEFT)
    answer = "reflection : red circle right of blue square . edit : move red circle left of blue square ."
    assert SHAPES.read(answer) == shapes.parse_answer(answer)


def test_the_general_dialogue_numbers_requirements_and_tells_items_of_one_name_apart() -> None:
    dialogue = load_dialogue("general")
    assert dialogue.system == SYSTEM
    request = dialogue.request((LEFT, ABOVE), (ABOVE,))
    assert "1. the first white cat (from the left) left of dog\n" in request
    assert "2. the second white cat (from the left) sitting on red car\n" in request
    assert "Not met yet: 2\n" in request
    assert "white cat 1" not in request
    assert dialogue.question(ABOVE).endswith(
        "Is this true: the second white cat (from the left) sitting on red car? Answer with yes or no."
    )


def test_an_actor_that_has_to_see_for_itself_is_not_told_what_is_unmet() -> None:
    one, other = Requirement("red circle", "left of", "blue square"), Requirement("red circle", "above", "green star")
    untold = load_dialogue("shapes", tell_unmet=False)
    assert untold.request((one, other), (other,)) == (
        "goal : red circle left of blue square ; red circle above green star . fix ?"
    )
    assert untold.request((one, other), ()) == untold.request((one, other), (one,))
    assert load_dialogue("shapes").request((one,), (one,)) == SHAPES.request((one,), (one,))
    general = load_dialogue("general", tell_unmet=False)
    said = general.request((one, other), (other,))
    assert said == general.request((one, other), ())
    assert "Not met yet: look at the picture and find out" in said
    words = Texts(untold="you see it")
    assert "Not met yet: you see it" in load_dialogue("general", words, tell_unmet=False).request((one,), (one,))
    assert "Not met yet: 1" in load_dialogue("general", words).request((one,), (one,))


def test_a_run_file_replaces_the_words_of_the_general_dialogue() -> None:
    texts = Texts(
        request="Wanted: {requirements} Missing: {unmet}. Braces: {{}}. Answer {reflection} / {edit}",
        question="Does {requirement} hold?",
        reflection="The cup floats.",
        edit="Put the cup on the table.",
    )
    dialogue = load_dialogue("general", texts)
    request = dialogue.request((LEFT, ABOVE), (ABOVE,))
    assert request.startswith("Wanted: 1. the first white cat (from the left) left of dog\n2. the second white cat")
    assert request.endswith("Missing: 2. Braces: {}. Answer The cup floats. / Put the cup on the table.")
    assert dialogue.question(LEFT) == "Does the first white cat (from the left) left of dog hold?"
    with pytest.raises(UnparsableAnswer):
        dialogue.read("Reflection: The cup floats.\nEdit: Put the cup on the table.")
    assert dialogue.read("Reflection: The cat is low.\nEdit: Lift the cat.").edit_prompt == "Lift the cat."


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("request", "Look: {requirements}", r"a place \{unmet\} is missing"),
        (
            "request",
            "{requirements} {unmet} {prompt}",
            r"\{prompt\} is no place of it: use \{requirements\}, ",
        ),
        ("question", "Is {requirement.__class__} so?", r"\{requirement.__class__\} is no place"),
        ("question", "Is {requirement!r} so?", r"\{requirement\} is no place"),
        ("question", "Is {} so?", r"\{\} is no place"),
        ("question", "Is {requirement so?", "braces"),
        ("edit", "", "at least 1 character"),
    ],
)
def test_words_that_cannot_be_used_are_refused(key: str, text: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Texts.model_validate({key: text})


@pytest.mark.parametrize(
    ("name", "words"),
    [("cat", "cat"), ("cat 1", "the first cat (from the left)"), ("cat 12", "the 12th cat (from the left)"),
     ("number 0", "number 0"), ("7", "7"), ("cat 21", "the 21st cat (from the left)")],
)  # fmt: skip
def test_names_are_words_that_a_picture_can_show(name: str, words: str) -> None:
    assert shown(name) == words


def test_code_of_the_users_is_a_dialogue_where_it_has_all_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("own_dialogue_of_a_test")
    module.Own = type("Own", (General,), {"system": "Be brief."})
    module.Half = type("Half", (), {"system": None, "request": lambda *_: "", "question": lambda *_: ""})
    module.Bare = type("Bare", (), {name: lambda *_: "" for name in ("request", "question", "read")})
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert load_dialogue("own_dialogue_of_a_test:Own").system == "Be brief."
    with pytest.raises(EntryPointError, match=r"rollout\.dialogue: '\w+:Half' is refused: it has no read"):
        load_dialogue("own_dialogue_of_a_test:Half")
    with pytest.raises(EntryPointError, match="it has no system"):
        load_dialogue("own_dialogue_of_a_test:Bare")
