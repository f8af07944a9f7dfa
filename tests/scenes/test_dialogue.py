import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenes.dialogue import (
    Reflection,
    UnparsableAnswer,
    actor_request,
    checker_question,
    edit_prompt,
    parse_answer,
    read_move,
)
from scenes.scene_graph import Requirement

CIRCLE_LEFT = Requirement("red circle", "left of", "blue square")
STAR_ABOVE = Requirement("green star", "above", "red circle")

words = ["red", "blue", "circle", "square", "left", "of", "above", "move", ";", "edit", "reflection"]
phrases = st.lists(st.sampled_from(words), min_size=1).map(" ".join)


def test_the_checker_is_asked_one_question_a_requirement():
    assert checker_question(CIRCLE_LEFT) == "is red circle left of blue square ?"


def test_the_actor_is_told_the_goal_and_what_is_unmet():
    assert actor_request((CIRCLE_LEFT, STAR_ABOVE), (STAR_ABOVE,)) == (
        "goal : red circle left of blue square ; green star above red circle . unmet : green star above red circle . "
        "fix ?"
    )


def test_an_answer_is_read():
    answer = "reflection : red circle right of blue square . edit : move red circle left of blue square ."
    assert parse_answer(answer) == Reflection(
        "red circle right of blue square", edit_prompt("red circle", "left of", "blue square")
    )
    assert parse_answer(f"  {answer}\n") == parse_answer(answer)


@given(phrases, phrases)
def test_what_is_written_is_read_back(reflection, edit):
    said = Reflection(reflection, edit)
    assert parse_answer(said.text) == said


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "yes",
        "reflection : red circle right of blue square .",
        "edit : move red circle left of blue square .",
        "reflection : a . edit : b",
        "reflection : a . edit : b . edit : c .",
        "reflection : a . edit : b . and then some",
        "reflection :  . edit : b .",
        "reflection : a . edit :   .",
        "edit : b . reflection : a .",
        "Reflection: a. Edit: b.",
    ],
)
def test_an_answer_of_another_form_is_unparsable(answer):
    with pytest.raises(UnparsableAnswer, match="is not of the form"):
        parse_answer(answer)


def test_an_unparsable_answer_is_shown_in_the_error():
    with pytest.raises(UnparsableAnswer, match="'circle circle circle'"):
        parse_answer("circle circle circle")


def test_a_move_is_read_back_from_its_edit_prompt() -> None:
    move = ("red circle", "left of", "blue square")
    assert read_move(edit_prompt(*move)) == move
    assert read_move("move red circle") is None
    assert read_move("please move red circle left of blue square") is None
