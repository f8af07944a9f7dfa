"""Requirements of every kind over HTTP, and what a prompt requires before anything is drawn."""

import json
from typing import Any

import pytest

from serving.prompts.plain_prompts import TRIES
from studio.episodes.service import ServiceUnavailable
from tests.studio.api.test_any_relation import any_client
from tests.studio.asking import EDITS, GENERATIONS, client, edit
from tests.studio.scripted_service import ScriptedService

READ = "/v1/requirements"
PROMPT = "a red fox; two cats; the table is wooden; fox on table; ? Is the fox asleep?"
TOLD = [
    {"kind": "relation", "text": "fox on table", "subject": "fox", "predicate": "on", "object": "table"},
    {"kind": "presence", "text": "a red fox"},
    {"kind": "count", "text": "two cats"},
    {"kind": "attribute", "text": "table is wooden"},
    {"kind": "question", "text": "? Is the fox asleep?"},
]
ANSWER = json.dumps({"requirements": [{"kind": "count", "item": "fox", "number": 2}, {"kind": "smell"}]})


def test_every_kind_is_drawn_and_told_with_its_kind() -> None:
    service = ScriptedService()
    [item] = any_client(service).post(GENERATIONS, json={"prompt": PROMPT}).json()["data"]
    nothing = dict.fromkeys(("subject", "predicate", "object"))
    assert [nothing | one for one in item["rlrig"]["requirements"]] == [nothing | one for one in TOLD]
    assert len(item["rlrig"]["satisfaction"]) == 5


def test_requirements_one_by_one_may_be_words() -> None:
    service = ScriptedService()
    wanted = [{"subject": "fox", "relation": "leaping over", "object": "fence"}, {"text": "two cats"}]
    assert any_client(service).post(GENERATIONS, json={"prompt": "-", "requirements": wanted}).status_code == 200
    assert service.asked[-1].graph.prompt == "fox leaping over fence; two cats"
    assert edit(any_client(service), requirements=json.dumps(wanted[1:])).status_code == 200
    assert service.asked[-1].graph.prompt == "two cats"


@pytest.mark.parametrize(
    ("wanted", "status", "code", "words"),
    [
        ([{"text": ""}], 400, "invalid_value", "requirements[0].text: String"),
        ([{"text": "two cats", "subject": "cat"}], 400, "unknown_field", "requirements[0].subject' is not known"),
        ([{"text": "cats"}], 422, "requirements_not_understood", "no relation is known in it"),
        ([{"text": "two cats"}, {"text": "three cats"}], 400, "impossible_prompt", "cannot both hold"),
    ],
)
def test_words_that_are_no_requirement_are_refused(wanted: Any, status: int, code: str, words: str) -> None:
    answer = any_client(ScriptedService()).post(GENERATIONS, json={"prompt": "-", "requirements": wanted})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, "requirements")
    assert words in error["message"]


def test_models_of_the_shape_world_refuse_other_kinds() -> None:
    error = client().post(GENERATIONS, json={"prompt": "-", "requirements": [{"text": "two circles"}]}).json()["error"]
    assert error["code"] == "requirements_not_understood"
    assert "the relations are above, below, left of, right of" in error["not_understood"][0]["reason"]


def test_an_edit_by_requirements_of_other_kinds_is_no_instruction() -> None:
    service = ScriptedService()
    assert any_client(service).post(EDITS).status_code == 415
    for prompt, instruction in (("the sky is red", False), ("two cats", False), ("make the sky red", True)):
        assert edit(any_client(service), prompt=prompt).status_code == 200
        assert bool(service.asked[-1].instruction) == instruction


def test_a_prompt_is_read_by_rules_and_nothing_is_drawn() -> None:
    service = ScriptedService()
    answer = any_client(service).post(READ, json={"prompt": PROMPT})
    nothing = dict.fromkeys(("subject", "predicate", "object"))
    assert answer.json() == {
        "prompt": "fox on table; a red fox; two cats; table is wooden; ? Is the fox asleep?",
        "requirements": [nothing | one for one in TOLD],
        "unused": [],
    }
    assert (service.asked, service.questions) == ([], [])


def test_other_words_are_read_by_the_actors_vlm() -> None:
    service = ScriptedService()
    service.answers = ["Foxes.", ANSWER]
    told = any_client(service).post(READ, json={"prompt": "Foxes, a pair"}).json()
    assert told["prompt"] == "two foxes"
    assert [one["kind"] for one in told["requirements"]] == ["count"]
    assert told["unused"] == [{"text": "smell", "reason": "it has no item"}]
    assert "Foxes, a pair\n</description>" in service.questions[0]
    assert len(service.questions) == TRIES
    assert service.asked == []


def test_what_cannot_be_read_is_refused_by_its_field() -> None:
    service = ScriptedService()
    service.answers = ["no"] * TRIES
    for body, status, code, words in (
        ({"prompt": "Foxes!"}, 422, "prompt_not_understood", "made no requirements of it"),
        ({"prompt": "two cats; one cat"}, 400, "impossible_prompt", "cannot both hold"),
        ({"prompt": ""}, 400, "invalid_value", "at least 1"),
        ({"prompt": "x" * 4001}, 400, "invalid_value", "at most 4000"),
        ({"prompt": "x", "n": 2}, 400, "unknown_field", "'n' is not known"),
        ({}, 400, "missing_field", "'prompt' is missing"),
    ):
        answer = any_client(service).post(READ, json=body)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (status, code)
        assert words in error["message"]


def test_a_service_that_cannot_answer_says_when_to_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(self: ScriptedService, text: str) -> None:
        raise ServiceUnavailable("the actor is still loading; ask again", 5.0)

    monkeypatch.setattr(ScriptedService, "say", gone)
    answer = any_client(ScriptedService()).post(READ, json={"prompt": "Foxes!"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
