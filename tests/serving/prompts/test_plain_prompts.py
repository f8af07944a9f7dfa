"""Plain prompts, as a VLM in this process reads them."""

import json

import numpy as np
import pytest

from presets.places import BASE
from scenes.pictures.size import PictureSize
from scenes.vocabulary.vocabulary import ANY_RELATION, FOUR_RELATIONS
from serving.config import VlmConfig
from serving.generation import Answer, Question, Sampling
from serving.local.vlm import LocalVlm
from serving.prompts.plain_prompts import SAMPLING, UnreadablePrompt, read_plain_prompt

GOOD = json.dumps({"requirements": [{"kind": "count", "item": "cat", "number": 2}, {"kind": "smell"}]})


class ListedAnswers:
    """Gives the answers of a list, and remembers what it was asked."""

    role, compute_seconds, settings = "actor", 0.0, VlmConfig(model="none")

    def __init__(self, *answers: str) -> None:
        self.answers, self.asked = list(answers), list[str]()

    def generate(self, images: list[np.ndarray], questions: list[Question], sampling: Sampling) -> list[list[Answer]]:
        assert (sampling, len(images), images[0].shape) == (SAMPLING, 1, (32, 32, 3))
        self.asked.append(questions[0].text)
        return [[Answer(self.answers.pop(0), [0], [0.0], True, 0)]]


def test_the_requirements_of_an_answer_are_read_and_the_rest_is_said() -> None:
    vlm = ListedAnswers(GOOD)
    found = read_plain_prompt(vlm, "Two cats", ANY_RELATION, PictureSize(32, 32))
    assert found.graph is not None
    assert found.graph.prompt == "two cats"
    assert found.unused == (("smell", "it has no item"),)


def test_an_answer_without_json_is_asked_for_again_with_what_was_wrong() -> None:
    vlm = ListedAnswers("Two cats, I think.", GOOD)
    found = read_plain_prompt(vlm, "Two cats", ANY_RELATION, PictureSize(32, 32))
    assert found.graph is not None
    assert "earlier answer" not in vlm.asked[0]
    assert "An earlier answer could not be used: there is no JSON object in the answer." in vlm.asked[1]


def test_after_two_tries_the_prompt_is_refused_with_the_last_problem() -> None:
    with pytest.raises(UnreadablePrompt, match=r"in 2 tries; at last: 'smell': it has no item\. Write"):
        read_plain_prompt(ListedAnswers("no", '{"kind": "smell"}'), "Two cats", ANY_RELATION, PictureSize(32, 32))


def test_a_model_that_cannot_do_it_is_no_crash() -> None:
    """The small Actor knows the words of its own dialogue alone."""
    vlm = LocalVlm("actor", VlmConfig(model=str(BASE / "presets" / "tiny" / "models" / "actor"), max_model_len=100))
    with pytest.raises(UnreadablePrompt, match=r"cannot be asked: a question to the actor is \d+ tokens"):
        read_plain_prompt(vlm, "A red circle left of a blue square", FOUR_RELATIONS, PictureSize(64, 64))
