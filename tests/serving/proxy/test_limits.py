"""Connections of strangers to a server with `LimitedProtocol`, byte by byte."""

from __future__ import annotations

import importlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rollout.local_ray import WORKER_ENVIRONMENT
from serving.proxy import limits
from serving.proxy.limits import MAX_HEAD_BYTES, OneRequestId, guard
from serving.proxy.loading import UntilServed
from tests.studio.loopback import wait_for


async def length(request: Request) -> Response:
    return JSONResponse({"length": len(await request.body())}, headers={"X-Request-ID": "of-the-app"})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(limits, "HEAD_DEADLINE_S", 1.0)
    app = Starlette(routes=[Route("/", length, methods=["GET", "POST"])])
    config = uvicorn.Config(app, port=0, http=limits.LimitedProtocol, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started, "the server's start")
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(20)


@contextmanager
def connection(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connected:
        yield connected


def answer(connected: socket.socket) -> tuple[int, dict]:
    """Status and body of the one answer that comes before the server closes; 0 where it closes without one."""
    received = b""
    while part := connected.recv(65536):
        received += part
    if not received:
        return 0, {}
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def sent(port: int, *parts: bytes) -> tuple[int, int, dict]:
    """How many bytes the server let us send, and its answer."""
    count = 0
    with connection(port) as connected:
        try:
            for part in parts:
                connected.sendall(part)
                count += len(part)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            return count, *answer(connected)
        except ConnectionResetError:  # what was sent after the answer can take it along
            return count, 0, {}


def answer_to(port: int, request: bytes) -> tuple[int, dict]:
    with connection(port) as connected:
        connected.sendall(request)
        return answer(connected)


def test_a_request_is_answered(port: int) -> None:
    body = b"x" * 300_000
    head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert sent(port, head, body)[1:] == (200, {"length": 300_000})


def test_headers_just_below_the_limit_are_taken(port: int) -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: %s\r\n\r\n" % (b"x" * (MAX_HEAD_BYTES - 20_000))
    assert sent(port, head)[1] == 200


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\r\nX: ",
        b"GET /",
        b"GET / HTTP/1.1\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;",
    ],
    ids=["value", "path", "many", "trailer", "extension"],
)
def test_a_head_without_an_end_is_cut_off(port: int, start: bytes) -> None:
    part = b"a: b\r\n" * 10_000 if start.endswith(b"1.1\r\n") else b"x" * 60_000
    count, status, error = sent(port, start, *[part] * 400)
    assert count < 20_000_000
    assert status in (0, 400, 431)
    assert status == 0 or error["error"]["code"] == "invalid_http"


def test_headers_that_are_too_long_are_named(port: int) -> None:
    _, status, error = sent(port, b"GET / HTTP/1.1\r\nX: " + b"x" * (MAX_HEAD_BYTES + 100))
    assert status == 431
    assert "at most 65536 bytes" in error["error"]["message"]


@pytest.mark.parametrize("start", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_a_head_must_come_in_time(port: int, start: bytes) -> None:
    with connection(port) as connected:
        connected.sendall(start)
        began = time.monotonic()
        status, error = answer(connected)
    assert status == 408
    assert "send them faster" in error["error"]["message"]
    assert time.monotonic() - began < 15


def test_a_head_that_drips_must_come_in_time(port: int) -> None:
    with connection(port) as connected:
        connected.sendall(b"GET / HTTP/1.1\r\n")
        count, ends = 0, time.monotonic() + 15
        with suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() < ends:
                connected.sendall(b"a: b\r\n")
                count += 1
                time.sleep(0.1)
    assert count < 150


def test_the_second_head_of_a_connection_must_come_in_time_too(port: int) -> None:
    with connection(port) as connected:
        connected.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"200" in connected.recv(65536)
        connected.sendall(b"GET / HT")
        status, _ = answer(connected)
    assert status == 408


@pytest.mark.parametrize("head", [b"nothing\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n",
                                  b"\x16\x03\x01\x02\x00"])  # fmt: skip
def test_what_is_no_request_gets_a_400_in_the_same_form(port: int, head: bytes) -> None:
    _, status, error = sent(port, head)
    assert status == 400
    assert set(error["error"]) == {"message", "type", "param", "code"}


def test_one_connection_too_many_is_told_to_come_back_and_gets_in_when_another_has_gone(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_CONNECTIONS", 2)
    request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with connection(port) as first, connection(port) as second:
        time.sleep(0.1)  # the server takes them one after another
        status, body = answer_to(port, b"")
        assert (status, body["error"]["code"]) == (503, "service_unavailable")
        assert "2 connections are open" in body["error"]["message"]
        first.sendall(request)
        assert answer(first)[0] == 200
        assert answer_to(port, request)[0] == 200
        second.sendall(request)
        assert answer(second)[0] == 200


def test_no_websocket_is_opened(port: int) -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    with connection(port) as connected:
        connected.sendall(head + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        assert b" 101 " not in connected.recv(65536)


@pytest.mark.parametrize(
    ("given", "kept"), [("mine-1", True), ("x" * 65, False), ("a b", False), ("\xff", False), ("", False)]
)
def test_an_answer_has_one_id_which_is_the_requests(given: str, kept: bool) -> None:
    from starlette.testclient import TestClient

    seen = []

    async def app(scope, receive, send) -> None:
        seen.append(dict(scope["headers"]))
        await JSONResponse({}, headers={"X-Request-Id": "one"})(scope, receive, doubled(send))

    def doubled(send):
        async def send_twice(message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-request-id", b"two"))
            await send(message)

        return send_twice

    headers = {"X-Request-Id": given.encode("latin-1"), "X-Request-Timeout-Seconds": b"\xff", "X-Session-Id": "1"}
    answered = TestClient(OneRequestId(app)).get("/", headers=headers)
    (id_,) = answered.headers.get_list("x-request-id")
    assert seen[0][b"x-request-id"].decode() == id_
    assert (id_ == given) is kept
    assert not {b"x-request-timeout-seconds", b"x-session-id"} & set(seen[0])


def test_the_name_in_the_environment_is_the_guards(monkeypatch: pytest.MonkeyPatch) -> None:
    from uvicorn import config

    monkeypatch.setattr(config, "HTTP_PROTOCOLS", dict(config.HTTP_PROTOCOLS))
    module, _, name = WORKER_ENVIRONMENT["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"].rpartition(".")
    assert getattr(importlib.import_module(module), name) is guard
    assert [one.cls for one in guard()] == [UntilServed, OneRequestId]
    made = uvicorn.Config(Starlette())
    made.load()
    assert made.http_protocol_class is limits.LimitedProtocol
