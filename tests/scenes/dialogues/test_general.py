"""The general dialogue about requirements of every kind."""

import pytest

from scenes.dialogue import checker_question
from scenes.dialogues.general import General, sentence
from scenes.dialogues.texts import Texts
from scenes.kinds.kinds import Attribute, Count, FreeQuestion, Other, Presence
from scenes.scene_graph import Requirement

QUESTION = FreeQuestion("Is the man smiling?")


@pytest.mark.parametrize(
    ("requirement", "words"),
    [
        (Presence("red fox"), "the picture shows a red fox"),
        (Presence("white cat 2"), "the picture shows the second white cat (from the left)"),
        (Count("red fox", 2), "the picture shows exactly two red foxes"),
        (Attribute("table", "wooden"), "table is wooden"),
        (Attribute("white cat 1", "asleep"), "the first white cat (from the left) is asleep"),
        (QUESTION, 'the answer to "Is the man smiling?" is yes'),
    ],
)
def test_each_kind_is_a_sentence_about_the_picture(requirement: Other, words: str) -> None:
    assert sentence(requirement) == words


def test_the_checker_is_asked_about_each_kind_and_with_a_question_itself() -> None:
    dialogue = General()
    assert dialogue.question(Count("fox", 2)) == (
        "Look at the picture. Is this true: the picture shows exactly two foxes? Answer with yes or no."
    )
    assert dialogue.question(QUESTION) == "Look at the picture. Is the man smiling? Answer with yes or no."
    own = General(Texts(free_question="{question} Say yes or no."))
    assert own.question(QUESTION) == "Is the man smiling? Say yes or no."


def test_the_actor_is_told_all_of_them_by_number() -> None:
    asked = (Requirement("cat", "on", "mat"), Count("cat", 2), QUESTION)
    request = General().request(asked, asked[1:])
    assert '1. cat on mat\n2. the picture shows exactly two cats\n3. the answer to "Is the man smiling?"' in request
    assert "Not met yet: 2, 3\n" in request


def test_other_vlms_are_asked_in_words_that_hold_for_each_kind() -> None:
    assert checker_question(Requirement("cat", "on", "mat")) == "is cat on mat ?"
    assert checker_question(Count("cat", 2)) == "is it true that the picture shows exactly two cats ?"
