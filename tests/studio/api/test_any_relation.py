"""What an endpoint takes whose models know any relation, and requirements that are given in their parts."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from scenes.vocabulary.vocabulary import ANY_RELATION
from studio.api.app import make_app
from studio.config import GatewayConfig
from tests.studio.asking import EDITS, GENERATIONS, PROMPT, client, edit, events_of
from tests.studio.scripted_service import ScriptedService

SCENE = "a red fox on top of a wooden table, a lamp behind the table"
TRIPLES = [("red fox", "on top of", "wooden table"), ("lamp", "behind", "table")]
PARTS = [dict(zip(("subject", "relation", "object"), triple, strict=True)) for triple in TRIPLES]


def any_client(service: ScriptedService, **more: Any) -> TestClient:
    app = make_app(service, GatewayConfig(refusal_wait_s=0), token="", vocabulary=ANY_RELATION, **more)
    return TestClient(app, base_url="http://127.0.0.1")


def asked(service: ScriptedService) -> list[tuple[str, str, str]]:
    return [one.triple for one in service.asked[-1].graph.requirements]


def test_a_prompt_with_any_relation_is_drawn_and_its_parts_are_told() -> None:
    service = ScriptedService()
    answer = any_client(service).post(GENERATIONS, json={"prompt": SCENE})
    assert answer.status_code == 200
    assert asked(service) == TRIPLES
    [item] = answer.json()["data"]
    told = item["rlrig"]["requirements"]
    assert [(one["subject"], one["predicate"], one["object"]) for one in told] == TRIPLES
    assert item["rlrig"]["ignored"] == []
    assert item["rlrig"]["satisfaction"] == [0.9, 0.9]


def test_requirements_in_parts_are_asked_for_and_the_prompt_is_not_read() -> None:
    service = ScriptedService()
    answer = any_client(service).post(GENERATIONS, json={"prompt": "A cosy study!", "requirements": PARTS})
    assert asked(service) == TRIPLES
    assert answer.json()["data"][0]["rlrig"]["ignored"] == ["prompt"]
    events = events_of(
        any_client(service).post(GENERATIONS, json={"prompt": "x", "requirements": PARTS, "stream": True}).text
    )
    assert events[0][1]["requirements"] == ["red fox on top of wooden table", "lamp behind table"]
    assert events[-1][1]["rlrig"]["ignored"] == ["prompt"]


def test_words_of_any_script_come_back_as_they_were_written() -> None:
    service = ScriptedService()
    parts = [{"subject": "Кот", "relation": "на", "object": "猫"}]
    http = any_client(service)
    for body in ({"prompt": "Кот [на] 猫"}, {"prompt": "-", "requirements": parts}):
        [item] = http.post(GENERATIONS, json=body).json()["data"]
        assert item["rlrig"]["requirements"][0]["text"] == "Кот на 猫"
        assert service.asked[-1].graph.prompt == "Кот на 猫"


def test_a_form_has_requirements_as_json() -> None:
    service = ScriptedService()
    http = any_client(service)
    answer = edit(http, prompt="move the fox", requirements=json.dumps(PARTS))
    assert answer.status_code == 200
    assert (asked(service), service.asked[-1].instruction) == (TRIPLES, "")
    for text in ("[", "[[[[" * 2000, "{}", '"x"'):
        error = edit(http, requirements=text).json()["error"]
        assert (error["param"], error["code"]) == ("requirements", "invalid_value")
        assert "requirements: Input should be a valid " in error["message"]


@pytest.mark.parametrize(
    ("prompt", "instruction"),
    [
        ("put the hat on the fox", True),
        ("give the fox a hat", True),
        ("make the wall behind the sofa green", True),
        ("turn the lamp off", True),
        ("brighten the sky", True),
        (SCENE, False),
        ("a fox wearing a hat", False),
    ],
)
def test_what_begins_with_a_verb_is_an_instruction_also_where_any_relation_is_taken(
    prompt: str, instruction: bool
) -> None:
    service = ScriptedService()
    assert edit(any_client(service), prompt=prompt).status_code == 200
    assert bool(service.asked[-1].instruction) == instruction
    assert bool(service.asked[-1].graph.requirements) != instruction


@pytest.mark.parametrize("prompt", ["move \x1b[2J the fox", "make it\u202e red", "fox \x00 on log"])
def test_an_edit_with_a_control_character_is_refused(prompt: str) -> None:
    error = edit(any_client(ScriptedService()), prompt=prompt).json()["error"]
    assert (error["code"], error["param"]) == ("prompt_not_understood", "prompt")
    assert "control character" in error["message"]
    service = ScriptedService()
    edit(any_client(service), prompt="make it red\r\nand the sky blue")
    assert service.asked[-1].instruction


def test_an_edit_whose_requirements_cannot_hold_is_refused() -> None:
    for http in (client(), any_client(ScriptedService())):
        answer = edit(http, prompt="cat left of dog; dog left of cat")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "impossible_prompt")


@pytest.mark.parametrize(
    ("body", "status", "code", "param", "words"),
    [
        ({"prompt": "red fox"}, 422, "prompt_not_understood", "prompt", "in brackets"),
        ({"prompt": "fox \x00 on log"}, 422, "prompt_not_understood", "prompt", "control character"),
        ({"prompt": "fox under log; log under fox"}, 400, "impossible_prompt", "prompt", "cannot both hold"),
        ({"requirements": []}, 400, "invalid_value", "requirements", "at least 1"),
        ({"requirements": PARTS * 17}, 400, "invalid_value", "requirements", "at most 32"),
        ({"requirements": SCENE}, 400, "invalid_value", "requirements", "valid list"),
        ({"requirements": ["x"]}, 400, "invalid_value", "requirements", "requirements[0]: "),
        (
            {"requirements": [{**PARTS[0], "relation": ""}]},
            400,
            "invalid_value",
            "requirements",
            "[0].relation: String",
        ),
        ({"requirements": [{**PARTS[0], "object": "x" * 201}]}, 400, "invalid_value", "requirements", "[0].object: "),
        (
            {"requirements": [{"subject": "fox", "object": "log"}]},
            400,
            "missing_field",
            "requirements",
            "[0].relation'",
        ),
        ({"requirements": [{**PARTS[0], "where": 1}]}, 400, "unknown_field", "requirements", "[0].where' is not known"),
        (
            {"requirements": [*PARTS, {**PARTS[0], "object": "<b>"}]},
            422,
            "requirements_not_understood",
            "requirements",
            "because of '<'",
        ),
        (
            {"requirements": [PARTS[0], {**PARTS[0], "object": "it"}]},
            422,
            "requirements_not_understood",
            "requirements",
            "requirements: understood: red fox on top of wooden table.",
        ),
    ],
)
def test_what_cannot_be_asked_for_is_refused_by_its_field(
    body: dict[str, Any], status: int, code: str, param: str, words: str
) -> None:
    service = ScriptedService()
    answer = any_client(service).post(GENERATIONS, json={"prompt": SCENE, **body})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param)
    assert words in error["message"]
    assert service.asked == []


def test_the_shape_worlds_models_take_parts_of_their_four_relations_only() -> None:
    service = ScriptedService()
    parts = [{"subject": "a red circle", "relation": "left of", "object": "blue square"}]
    assert client(service).post(GENERATIONS, json={"prompt": PROMPT, "requirements": parts}).status_code == 200
    assert service.asked[-1].graph.prompt == "red circle left of blue square"
    error = client(service).post(GENERATIONS, json={"prompt": PROMPT, "requirements": PARTS}).json()["error"]
    assert error["code"] == "requirements_not_understood"
    assert "they are left of, right of, above, below" in error["not_understood"][0]["reason"]
    assert client(service).post(GENERATIONS, json={"prompt": SCENE}).status_code == 422


def test_a_model_tells_which_relations_it_takes() -> None:
    for http, relations in (
        (client(), ["left of", "right of", "above", "below"]),
        (any_client(ScriptedService()), None),
    ):
        assert [model["relations"] for model in http.get("/v1/models").json()["data"]] == [relations, relations]


def test_the_document_shows_what_can_be_asked_for() -> None:
    document = any_client(ScriptedService()).get("/openapi.json").json()
    bodies = {path: document["paths"][path]["post"]["requestBody"]["content"] for path in (GENERATIONS, EDITS)}
    fields = bodies[GENERATIONS]["application/json"]["schema"]["properties"]
    assert fields["prompt"]["examples"] == [ANY_RELATION.example]
    listed = fields["requirements"]["anyOf"][0]
    forms = ("WantedRequirement", "WantedText")
    assert listed["items"]["oneOf"] == [{"$ref": f"#/components/schemas/{form}"} for form in forms]
    assert listed["maxItems"] == 32
    assert document["components"]["schemas"]["WantedRequirement"]["required"] == ["subject", "relation", "object"]
    form = bodies[EDITS]["multipart/form-data"]["schema"]["properties"]["requirements"]
    assert (form["type"], form["contentMediaType"], form["contentSchema"]) == (
        "string",
        "application/json",
        {**listed, "title": "Requirements"},
    )


def test_a_parser_may_mark_relations() -> None:
    async def parse(prompt: str) -> str:
        return "red fox [leaping over] wooden fence"

    service = ScriptedService()
    assert any_client(service, parse_prompt=parse).post(GENERATIONS, json={"prompt": "Foxes leap!"}).status_code == 200
    assert asked(service) == [("red fox", "leaping over", "wooden fence")]


def test_what_the_models_do_not_know_is_told_of_the_field_that_says_it() -> None:
    http = any_client(ScriptedService(), refusal=lambda graph, drawn: f"{graph.names[0]!r} is unknown")
    error = http.post(GENERATIONS, json={"prompt": SCENE, "requirements": PARTS}).json()["error"]
    assert (error["code"], error["param"]) == ("prompt_beyond_models", "requirements")
    assert error["message"] == "requirements: 'red fox' is unknown"
