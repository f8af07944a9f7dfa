import io
import json
import time

import pytest
from PIL import Image
from starlette.testclient import TestClient

from rollout.state import Unread
from scenes.scene_graph import SceneGraph
from studio.api.app import make_app
from studio.config import GatewayConfig
from tests.studio.asking import GENERATIONS, PROMPT, client, edit, events_of, image_of
from tests.studio.scripted_service import SECONDS, ScriptedService


def test_a_generation_answers_its_image_and_how_it_came_to_be() -> None:
    service = ScriptedService()
    answer = client(service).post(GENERATIONS, json={"prompt": PROMPT, "seed": 7}).json()
    assert set(answer) == {"created", "data", "output_format", "size"}
    assert answer["size"] == "64x64"
    [item] = answer["data"]
    assert (image_of(item["b64_json"]) == 8).all()
    trace = item["rlrig"]
    assert [r["text"] for r in trace["requirements"]] == [
        "red circle left of blue square",
        "green star above red circle",
    ]
    assert trace["requirements"][0]["predicate"] == "left of"
    assert trace["satisfied"] is True
    assert trace["satisfaction"] == [0.9, 0.9]
    assert (trace["versions"], trace["seconds"]) == ({"actor": 3, "editor": 5}, SECONDS)
    assert (trace["model"], trace["seed"]) == ("rlrig", 7)
    first, second = trace["turns"]
    assert (first["satisfaction"], first["reward"], first["reflection"]) == ([0.9, 0.2], 0.5, None)
    assert (second["index"], second["reflection"], second["edit_prompt"]) == (1, "it is wrong", "move it")
    assert (second["seed"], second["kept"]) == (8, True)
    assert "b64_json" not in first
    assert service.under_way == 0


def test_an_answer_that_could_not_be_read_is_in_the_trace_with_its_reason() -> None:
    unread = [Unread(1, "what is wrong?", "Nothing.", "no edit")]
    answer = client(ScriptedService(unread=unread)).post(GENERATIONS, json={"prompt": PROMPT}).json()
    (trace,) = [item["rlrig"] for item in answer["data"]]
    assert trace["unread"] == [{"turn": 1, "request": "what is wrong?", "answer": "Nothing.", "reason": "no edit"}]


def test_each_of_n_images_has_a_seed_of_its_own() -> None:
    service = ScriptedService()
    data = client(service).post(GENERATIONS, json={"prompt": PROMPT, "seed": 7, "n": 3}).json()["data"]
    assert [item["rlrig"]["seed"] for item in data] == [7, 8, 9]
    assert [image_of(item["b64_json"])[0, 0, 0] for item in data] == [8, 9, 10]
    assert [ask.seed for ask in service.asked] == [7, 8, 9]


def test_a_whole_number_may_be_written_with_a_point() -> None:
    service = ScriptedService()
    client(service).post(GENERATIONS, json={"prompt": PROMPT, "seed": 7.0, "n": 2.0})
    assert [ask.seed for ask in service.asked] == [7, 8]
    assert client(service).post(GENERATIONS, json={"prompt": PROMPT, "n": 1.5}).status_code == 400


def test_without_a_seed_one_is_drawn_and_told() -> None:
    answers = [client().post(GENERATIONS, json={"prompt": PROMPT}).json() for _ in range(2)]
    assert len({answer["data"][0]["rlrig"]["seed"] for answer in answers}) == 2


def test_options_reach_the_service_and_the_answer() -> None:
    service = ScriptedService(holds_after=9)
    body = {"prompt": PROMPT, "seed": 1, "turns": 3, "model": "rlrig-raw", "response_format": "url", "size": "64x64"}
    [item] = client(service).post(GENERATIONS, json={**body, "trace_images": True}).json()["data"]
    assert [(ask.turns, ask.model) for ask in service.asked] == [(3, "rlrig-raw")]
    assert "b64_json" not in item
    start, image = item["url"].split(",")
    assert start == "data:image/png;base64"
    assert (image_of(image) == 4).all()
    assert [image_of(turn["b64_json"])[0, 0, 0] for turn in item["rlrig"]["turns"]] == [1, 2, 3, 4]
    assert item["rlrig"]["satisfied"] is False


def test_turns_follow_the_settings_where_none_are_asked_for() -> None:
    service = ScriptedService()
    for config in ({"default_turns": 5}, {"default_turns": 5, "max_turns": 3}, {}):
        client(service, **config).post(GENERATIONS, json={"prompt": PROMPT, "n": None, "turns": None})
    assert [ask.turns for ask in service.asked] == [5, 3, 2]


@pytest.mark.parametrize(
    ("body", "status", "param", "words"),
    [
        ({}, 400, "prompt", "'prompt' is missing"),
        ({"prompt": ""}, 400, "prompt", "at least 1"),
        ({"prompt": "x" * 2001}, 400, "prompt", "at most 2000"),
        ({"prompt": "\ud800"}, 400, "prompt", "string"),
        ({"prompt": 3}, 400, "prompt", "string, not 3"),
        ({"prompt": PROMPT, "qualty": "hd"}, 400, "qualty", "'qualty' is not known; leave it out. The fields are"),
        ({"prompt": PROMPT, "n": 9}, 400, "n", "less than or equal to 8, not 9"),
        ({"prompt": PROMPT, "n": 0}, 400, "n", "greater than or equal to 1"),
        ({"prompt": PROMPT, "n": "2"}, 400, "n", "integer, not '2'"),
        ({"prompt": PROMPT, "n": True}, 400, "n", "integer"),
        ({"prompt": PROMPT, "size": "large"}, 400, "size", "should match pattern"),
        ({"prompt": PROMPT, "turns": 9}, 400, "turns", "less than or equal to 8"),
        ({"prompt": PROMPT, "seed": -1}, 400, "seed", "greater than or equal to 0"),
        ({"prompt": PROMPT, "seed": 2**53}, 400, "seed", "less than or equal to"),
        ({"prompt": PROMPT, "stream": "yes"}, 400, "stream", "boolean"),
        ({"prompt": PROMPT, "response_format": "jpeg"}, 400, "response_format", "'b64_json' or 'url'"),
        (
            {"prompt": PROMPT, "model": "dall-e-3"},
            404,
            "model",
            "'dall-e-3' does not exist; the models are rlrig, rlrig-raw",
        ),
        (
            {"prompt": "; ".join(f"a{k} above b{k}" for k in range(33))},
            400,
            "prompt",
            "33 requirements; ask for at most 32",
        ),
    ],
)
def test_a_wrong_field_is_refused_by_its_name(body: dict, status: int, param: str, words: str) -> None:
    service = ScriptedService()
    answer = client(service).post(GENERATIONS, content=json.dumps(body), headers={"content-type": "application/json"})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param)
    assert error["type"] == ("not_found_error" if status == 404 else "invalid_request_error")
    assert words in error["message"]
    assert service.asked == []


def test_a_prompt_that_cannot_be_read_shows_what_was_understood() -> None:
    answer = client().post(GENERATIONS, json={"prompt": "a cat left of a dog. Make it cozy."})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (422, "prompt_not_understood", "prompt")
    assert error["understood"] == ["cat left of dog"]
    assert [one["text"] for one in error["not_understood"]] == ["make it cozy"]
    assert "no relation" in error["not_understood"][0]["reason"]


def test_a_parser_reads_the_prompts_that_are_no_requirements() -> None:
    asked = []

    async def parse(prompt: str) -> str:
        asked.append(prompt)
        return "cat above dog" if "cat" in prompt else "nothing"

    service = ScriptedService()
    http = TestClient(make_app(service, GatewayConfig(), token="", parse_prompt=parse), base_url="http://localhost")
    prompts = ("dog below bird", "my cat rides my dog", "my tree")
    assert [http.post(GENERATIONS, json={"prompt": prompt}).status_code for prompt in prompts] == [200, 200, 422]
    assert asked == ["my cat rides my dog", "my tree"]
    assert [ask.graph.prompt for ask in service.asked] == ["dog below bird", "cat above dog"]
    assert "'my tree'" in http.post(GENERATIONS, json={"prompt": "my tree"}).json()["error"]["message"]


@pytest.mark.parametrize("name", ["image", "image[]"])
def test_an_edit_starts_from_the_uploaded_image(name: str) -> None:
    service = ScriptedService()
    answer = edit(client(service), name=name, n="2", seed="4", turns="1", trace_images="true")
    first, second = answer.json()["data"]
    assert (image_of(first["b64_json"]) == 51).all()
    assert [image_of(turn["b64_json"])[0, 0, 0] for turn in second["rlrig"]["turns"]] == [50, 51]
    assert [(ask.seed, ask.turns) for ask in service.asked] == [(4, 1), (5, 1)]


def test_an_edit_streams_too() -> None:
    events = events_of(edit(client(), stream="true").text)
    assert [name for name, _ in events] == ["image_edit.turn", "image_edit.turn", "image_edit.completed"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": "9"}, "n"),
        ({"n": "two"}, "n"),
        ({"mask": "x"}, "mask"),
        ({"seed": "1.5"}, "seed"),
        ({"n": "+1"}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"user": "x" * 300}, "user"),
    ],
)
def test_a_wrong_field_of_a_form_is_refused_by_its_name(fields: dict, param: str) -> None:
    answer = edit(client(), **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_an_upload_is_limited_in_bytes_and_pixels() -> None:
    buffer = io.BytesIO()
    Image.new("L", (1000, 1000)).save(buffer, "PNG")
    assert edit(client(max_pixels=999_999), buffer.getvalue()).json()["error"]["code"] == "image_too_large"
    assert edit(client(max_upload_bytes=50), buffer.getvalue()).status_code == 413
    assert edit(client(), b"GIF89a").status_code == 415


def test_what_is_beyond_the_models_or_cannot_hold_is_a_400_that_says_why() -> None:
    def refusal(graph: SceneGraph, drawn: bool) -> str | None:
        return f"{len(graph.items)} are too many" if drawn else None

    app = make_app(ScriptedService(), GatewayConfig(), token="", refusal=refusal)
    http = TestClient(app, base_url="http://localhost")
    for prompt, code, words in (
        ("red circle left of blue square", "prompt_beyond_models", "prompt: 2 are too many"),
        (
            "cat left of dog; dog left of cat",
            "impossible_prompt",
            "these two cannot both hold: cat left of dog;",
        ),
    ):
        answer = http.post("/v1/images/generations", json={"prompt": prompt})
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == code
        assert words in answer.json()["error"]["message"]
    grey = io.BytesIO()
    Image.new("RGB", (64, 64)).save(grey, "PNG")
    assert edit(http, grey.getvalue()).status_code == 200  # nothing has to be drawn


def test_the_answer_to_a_form_that_is_refused_waits() -> None:
    wait_s = 0.4
    http = client(refusal_wait_s=wait_s)
    for image, fields in ((b"GIF89a", {}), (None, {"mask": "x"})):
        began = time.monotonic()
        assert edit(http, image, **fields).status_code in (400, 415)
        assert time.monotonic() - began >= wait_s
    edit(http)  # the decoder has started
    began = time.monotonic()
    assert edit(http).status_code == 200
    assert time.monotonic() - began < wait_s
