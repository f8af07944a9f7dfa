"""What a port answers before there is an endpoint behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from serving.proxy import loading
from serving.proxy.loading import StillLoading, UntilServed

NOT_FOUND = PlainTextResponse("Path '/studio' not found.", 404)
OWN_NOT_FOUND = PlainTextResponse("there is no such run", 404, {"X-Content-Type-Options": "nosniff"})
THERE = PlainTextResponse("Studio")
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Proxy:
    """Answers as it is told to; None never does."""

    def __init__(self) -> None:
        self.response: PlainTextResponse | None = NOT_FOUND
        self.bodies: list[bytes] = []
        self.cancelled = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] == "POST":
                self.bodies.append((await receive())["body"])
            await (self.response(scope, receive, send) if self.response else asyncio.sleep(60))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Proxy:
    monkeypatch.setattr(loading, "PATIENCE_S", 0.05)
    return Proxy()


@pytest.fixture
def client(proxy: Proxy) -> TestClient:
    return TestClient(UntilServed(proxy))


def test_each_path_is_told_in_its_own_way_what_starts() -> None:
    client = TestClient(StillLoading(lambda: "Ray <starts>"))
    page, ready, image = client.get("/studio"), client.get("/readyz"), client.post("/v1/images/generations", json={})
    assert [one.status_code for one in (page, ready, image, client.get("/healthz"))] == [503] * 4
    assert [one.headers["Retry-After"] for one in (page, ready, image)] == ["1"] * 3
    assert page.headers["Refresh"] == "1"
    assert "Refresh" not in ready.headers
    assert "<h1>Loading</h1>" in page.text
    assert "Ray &lt;starts&gt;" in page.text
    assert ready.json() == {"ready": False, "roles": {"endpoint": "not ready"}}
    assert image.json()["error"]["message"] == "Ray <starts>; ask again"


def test_a_path_that_serve_does_not_know_yet_is_loading_until_an_application_answers(
    client: TestClient, proxy: Proxy
) -> None:
    assert client.get("/studio").status_code == 503
    assert client.get("/-/routes").text == NOT_FOUND.body.decode()
    proxy.response = THERE
    assert client.get("/studio").text == "Studio"
    proxy.response = NOT_FOUND
    assert client.get("/studio").status_code == 404


def test_a_404_of_the_application_itself_is_an_answer(client: TestClient, proxy: Proxy) -> None:
    proxy.response = OWN_NOT_FOUND
    assert client.get("/runs/none").text == "there is no such run"
    proxy.response = NOT_FOUND
    assert client.get("/studio").status_code == 404


def test_a_request_that_would_wait_for_the_endpoints_process_is_told_so(client: TestClient, proxy: Proxy) -> None:
    proxy.response = None
    answers: list[httpx.Response] = [client.get("/studio"), client.post("/v1/images/edits", content=b"1")]
    assert [one.status_code for one in answers] == [503, 503]
    assert "The endpoint starts" in answers[0].text
    assert proxy.cancelled == 2  # nothing goes on behind an answer that was given


def test_the_first_answer_has_its_request_whole(client: TestClient, proxy: Proxy) -> None:
    proxy.response = THERE
    assert client.post("/v1/images/edits", content=b"a picture").status_code == 200
    assert proxy.bodies == [b"a picture"]


def test_an_error_of_the_proxy_stays_one(proxy: Proxy) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        TestClient(UntilServed(broken)).get("/studio")
