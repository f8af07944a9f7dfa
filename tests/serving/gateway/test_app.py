import base64
import io
import json
import logging
from collections.abc import Sequence

import numpy as np
import pytest
from fastapi import APIRouter, Depends
from PIL import Image
from starlette.testclient import TestClient

from scenes.png import decode_png, encode_png
from serving.gateway.access import require
from serving.gateway.app import make_app
from serving.gateway.gateway_config import GatewayConfig
from serving.gateway.service import ServiceUnavailable, TurnTimeout
from tests.serving.gateway.scripted_service import SECONDS, ScriptedService, picture

PROMPT = "red circle left of blue square; green star above red circle"
GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"
TOKEN = "a-token-of-enough-characters"


def client(service: ScriptedService | None = None, token: str = "", **config) -> TestClient:
    app = make_app(service or ScriptedService(), GatewayConfig(**config), token=token)
    return TestClient(app, base_url="http://127.0.0.1")


def image_of(b64: str) -> np.ndarray:
    return decode_png(base64.b64decode(b64))


def events_of(text: str) -> list[tuple[str | None, dict]]:
    """Name and data of each server-sent event but the last, which must be `[DONE]`."""
    *events, done = [event for event in text.split("\n\n") if event and not event.startswith(":")]
    assert done == "data: [DONE]"
    return [
        (name.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
        for name, data in map(str.splitlines, events)
    ]


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


def test_each_of_n_images_has_a_seed_of_its_own() -> None:
    service = ScriptedService()
    data = client(service).post(GENERATIONS, json={"prompt": PROMPT, "seed": 7, "n": 3}).json()["data"]
    assert [item["rlrig"]["seed"] for item in data] == [7, 8, 9]
    assert [image_of(item["b64_json"])[0, 0, 0] for item in data] == [8, 9, 10]
    assert [ask.seed for ask in service.asked] == [7, 8, 9]


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
        ({"prompt": PROMPT, "quality": "hd"}, 400, "quality", "'quality' is not known; leave it out. The fields are"),
        ({"prompt": PROMPT, "n": 9}, 400, "n", "less than or equal to 8, not 9"),
        ({"prompt": PROMPT, "n": 0}, 400, "n", "greater than or equal to 1"),
        ({"prompt": PROMPT, "n": "2"}, 400, "n", "integer, not '2'"),
        ({"prompt": PROMPT, "n": True}, 400, "n", "integer"),
        ({"prompt": PROMPT, "size": "1024x1024"}, 400, "size", "'auto' or '64x64', not '1024x1024'"),
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


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"", "application/json", 400, "invalid_json"),
        (b"{", "application/json", 400, "invalid_json"),
        (b"[]", "application/json", 400, "invalid_json"),
        (b"[" * 100_000, "application/json", 413, "body_too_large"),
        (b"[" * 50_000, "application/json", 400, "invalid_json"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "application/json", 400, "invalid_json"),
        (b"\xff", "application/json", 400, "invalid_json"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
        (b"prompt=x", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    ],
)
def test_a_body_of_another_kind_is_refused(content: bytes, kind: str, status: int, code: str) -> None:
    answer = client().post(GENERATIONS, content=content, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_body_without_a_declared_length_is_cut_off_too() -> None:
    answer = client().post(GENERATIONS, content=iter([bytes(50_000)] * 4), headers={"content-type": "application/json"})
    assert answer.status_code == 413


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


def test_a_stream_sends_each_image_and_then_each_end() -> None:
    answer = client().post(GENERATIONS, json={"prompt": PROMPT, "seed": 7, "n": 2, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = events_of(answer.text)
    assert all(name == data["type"] for name, data in events)
    for item in range(2):
        *turns, end = [data for _, data in events if data["item"] == item]
        assert [turn["type"] for turn in turns] == ["image_generation.turn"] * 2
        assert [turn["index"] for turn in turns] == [0, 1]
        assert [turn["satisfaction"] for turn in turns] == [[0.9, 0.2], [0.9, 0.9]]
        assert [image_of(turn["b64_json"])[0, 0, 0] for turn in turns] == [7 + item, 8 + item]
        assert turns[1]["edit_prompt"] == "move it"
        assert turns[1]["requirements"][1] == "green star above red circle"
        assert end["type"] == "image_generation.completed"
        assert (image_of(end["b64_json"]) == 8 + item).all()
        assert end["rlrig"]["versions"] == {"actor": 3, "editor": 5}


def test_a_stream_with_nothing_to_tell_is_kept_open_by_comments() -> None:
    http = client(ScriptedService(turn_s=0.3), keep_alive_s=0.05)
    text = http.post(GENERATIONS, json={"prompt": PROMPT, "stream": True}).text
    assert text.count(": keep-alive\n\n") >= 4
    assert len(events_of(text)) == 3


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("failure", "status", "code", "after"),
    [
        (ServiceUnavailable("the Diffuser starts anew", 2.6), 503, "service_unavailable", "3"),
        (TurnTimeout("turn 0 took longer than 60 s"), 504, "turn_timeout", None),
        (RuntimeError("secret in /root/key"), 500, "internal_error", None),
    ],
)
def test_what_fails_before_the_first_image_is_a_plain_error(failure, status, code, after, stream) -> None:
    service = ScriptedService(failure=failure)
    answer = client(service).post(GENERATIONS, json={"prompt": PROMPT, "n": 2, "stream": stream})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers.get("retry-after") == after
    assert "secret" not in answer.text
    assert service.under_way == 0


@pytest.mark.parametrize(
    ("failure", "code"), [(ServiceUnavailable("gone"), "service_unavailable"), (KeyError("secret"), "internal_error")]
)
def test_what_fails_later_ends_a_stream_with_an_error(failure: Exception, code: str) -> None:
    service = ScriptedService(failure=failure, fails_at=1)
    text = client(service).post(GENERATIONS, json={"prompt": PROMPT, "stream": True}).text
    turn, error = [event.splitlines() for event in text.strip().split("\n\n")]
    assert turn[0] == "event: image_generation.turn"
    assert error[0] == "event: error"
    assert json.loads(error[1].removeprefix("data: "))["error"]["code"] == code
    assert "secret" not in text
    assert service.under_way == 0


def test_the_log_names_the_place_of_a_failure_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="serving"):
        answer = client(ScriptedService(failure=ValueError("secret in /root/key"))).post(
            GENERATIONS, json={"prompt": PROMPT}
        )
    [record] = [record for record in caplog.records if record.name.startswith("serving")]
    assert record.exc_info is None
    id_ = answer.headers["x-request-id"]
    assert record.getMessage().startswith(f"request {id_}: ValueError at tests.serving.gateway.scripted_service:")
    assert id_ in answer.json()["error"]["message"]


def test_an_episode_without_an_end_does_not_last() -> None:
    http = client(ScriptedService(turn_s=60.0), turn_deadline_s=0.05)
    answer = http.post(GENERATIONS, json={"prompt": PROMPT, "turns": 0})
    assert answer.status_code == 504
    assert "had not ended after 0.1 s" in answer.json()["error"]["message"]


def edit(http: TestClient, image: bytes | None = None, name: str = "image", **fields: str):
    files = {name: ("photo.png", encode_png(picture(50)) if image is None else image)}
    return http.post(EDITS, files=files, data={"prompt": PROMPT, **fields})


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
    ("fields", "param"), [({"n": "9"}, "n"), ({"n": "two"}, "n"), ({"mask": "x"}, "mask"), ({"seed": "1.5"}, "seed")]
)
def test_a_wrong_field_of_a_form_is_refused_by_its_name(fields: dict, param: str) -> None:
    answer = edit(client(), **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def parts(*given: tuple[str, bytes, bool]) -> bytes:
    """A form's body with these parts: name, content, whether it is a file."""
    text = [
        b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
        % (name.encode(), b'; filename="x"' * file, content)
        for name, content, file in given
    ]
    return b"".join([*text, b"--b--\r\n"])


PNG = encode_png(picture(1))


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (parts(("prompt", b"x", False)), 400, "'image' is missing"),
        (parts(("prompt", b"x", False), ("image", b"x", False)), 400, "send it as a file"),
        (parts(("prompt", b"x", False), ("image", PNG, True), ("image", PNG, True)), 400, "Too many files"),
        (parts(("prompt", b"x", False), ("prompt", b"y", False)), 400, "given twice"),
        (parts(("prompt", b"x", True)), 400, "'prompt' is a file"),
        (parts(("prompt", b"x" * 20_000, False)), 400, "Part exceeded"),
        (parts(*[(f"f{k}", b"x", False) for k in range(99)]), 400, "Too many fields"),
        (b"no form", 400, "cannot be read"),
        (b"--b\r\n" + bytes(2_000_000), 413, "too large"),
    ],
)
def test_a_damaged_form_is_refused(content: bytes, status: int, words: str) -> None:
    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = client(max_upload_bytes=1_000_000).post(EDITS, content=content, headers=headers)
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]


def test_an_upload_is_limited_in_bytes_and_pixels() -> None:
    buffer = io.BytesIO()
    Image.new("L", (1000, 1000)).save(buffer, "PNG")
    assert edit(client(max_pixels=999_999), buffer.getvalue()).json()["error"]["code"] == "image_too_large"
    assert edit(client(max_upload_bytes=50), buffer.getvalue()).status_code == 413
    assert edit(client(), b"GIF89a").status_code == 415


def test_the_token_is_needed_wherever_something_is_told() -> None:
    http = client(ScriptedService(not_ready="the Actor loads /models/x"), token=TOKEN)
    for method, path in [
        ("POST", GENERATIONS),
        ("POST", EDITS),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/rlrig"),
        ("GET", "/metrics"),
    ]:
        for headers in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Basic {TOKEN}"}):
            answer = http.request(method, path, headers=headers)
            assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")
            assert answer.headers["www-authenticate"] == "Bearer"
    assert http.get("/healthz").json() == {"status": "ok"}
    told = {"Authorization": f"Bearer {TOKEN}"}
    assert http.get("/readyz").json() == {"ready": False, "roles": {"diffuser": "ready", "actor": "not ready"}}
    assert http.get("/readyz", headers=told).json()["roles"]["actor"] == "the Actor loads /models/x"
    assert http.get("/v1/models", headers=told).status_code == 200
    assert http.post(GENERATIONS, json={"prompt": PROMPT}, headers=told).status_code == 200


def test_models_and_readiness_are_told() -> None:
    http = client()
    models = http.get("/v1/models").json()
    assert [model["id"] for model in models["data"]] == ["rlrig", "rlrig-raw"]
    assert http.get("/v1/models/rlrig").json() == models["data"][0]
    assert models["data"][0]["versions"] == {"actor": 3, "editor": 5}
    assert http.get("/v1/models/other").json()["error"]["code"] == "model_not_found"
    assert http.get("/readyz").json()["ready"] is True
    assert client(ScriptedService(not_ready="loads")).get("/readyz").status_code == 503


def test_requests_images_and_phases_are_counted() -> None:
    http = client(ScriptedService())
    http.post(GENERATIONS, json={"prompt": PROMPT, "n": 2})
    http.post(GENERATIONS, json={"prompt": ""})
    http.get("/nowhere")
    text = http.get("/metrics").text
    assert 'rlrig_http_requests_total{method="POST",route="/v1/images/generations",status="200"} 1.0' in text
    assert 'rlrig_http_requests_total{method="POST",route="/v1/images/generations",status="400"} 1.0' in text
    assert 'rlrig_http_requests_total{method="GET",route="other",status="404"} 1.0' in text
    assert 'rlrig_images_total{model="rlrig",outcome="done"} 2.0' in text
    assert 'rlrig_turns_total{model="rlrig"} 2.0' in text
    assert 'rlrig_requirements_total{holds="true",model="rlrig"} 4.0' in text
    assert 'rlrig_phase_seconds_sum{phase="edit"} 8.0' in text
    assert 'rlrig_policy_version{model="rlrig",policy="editor"} 5.0' in text
    assert "rlrig_http_requests_under_way 1.0" in text


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("PUT", GENERATIONS, 405), ("GET", "/docs", 404)]
)
def test_other_paths_and_methods_are_refused_in_the_same_form(method: str, path: str, status: int) -> None:
    answer = client().request(method, path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def pages() -> Sequence[APIRouter]:
    router = APIRouter()

    @router.get("/page")
    async def page() -> str:
        return "page"

    @router.get("/page/data", dependencies=[Depends(require)])
    async def data() -> str:
        return "data"

    @router.get("/page/number/{number}")
    async def number(number: int) -> int:
        return 1 // number

    return [router]


def test_more_routes_stand_behind_the_same_check_where_they_ask_for_it() -> None:
    http = TestClient(make_app(ScriptedService(), GatewayConfig(), pages(), token=TOKEN), base_url="http://127.0.0.1")
    answer = http.get("/page")
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'self'; img-src 'self' data:;")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert http.get("/page/data").status_code == 401
    assert http.get("/page/data", headers={"Authorization": f"Bearer {TOKEN}"}).json() == "data"
    assert http.get("/page/number/x").json()["error"]["param"] == "number"
    failed = http.get("/page/number/0")
    assert (failed.status_code, failed.json()["error"]["code"]) == (500, "internal_error")
    assert failed.headers["x-frame-options"] == "DENY"
