from collections.abc import Sequence

import pytest
from fastapi import APIRouter, Depends
from starlette.testclient import TestClient

from studio.access import require
from studio.api.app import make_app
from studio.config import GatewayConfig
from tests.studio.asking import EDITS, GENERATIONS, PROMPT, TOKEN, client
from tests.studio.scripted_service import ScriptedService


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
