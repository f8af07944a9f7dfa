"""A port that two processes listen on, one after the other."""

from __future__ import annotations

import socket
import threading

import httpx
import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from serving.proxy.early_port import EarlyPort
from tests.studio.loopback import wait_for


def test_it_says_what_starts_and_has_nothing_after_its_end() -> None:
    with EarlyPort("127.0.0.1", 0, "Ray starts") as early:
        url = f"http://127.0.0.1:{early.port}/studio"
        assert "Ray starts" in httpx.get(url, trust_env=False).text
        early.now = "Ray Serve starts"
        assert "Ray Serve starts" in httpx.get(url, trust_env=False).text
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)
    early.close()


def test_a_port_that_another_process_has_is_refused() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            EarlyPort("127.0.0.1", other.getsockname()[1], "Ray starts")


def test_no_request_is_left_without_an_answer_while_another_takes_over() -> None:
    early = EarlyPort("127.0.0.1", 0, "Ray starts")
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as Serve's proxy does
    listener.bind(("127.0.0.1", early.port))
    server = uvicorn.Server(uvicorn.Config(PlainTextResponse("Studio"), log_level="critical", lifespan="off"))
    seen: list[int] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            seen.append(httpx.get(f"http://127.0.0.1:{early.port}/studio", trust_env=False).status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_for(lambda: len(seen) > 5, "answers of the first")
    taking_over = threading.Thread(target=server.run, args=([listener],), daemon=True)
    taking_over.start()
    wait_for(lambda: server.started, "the second's start")
    early.close()
    since = len(seen) + 1
    wait_for(lambda: len(seen) > since + 5, "answers of the second")
    ended.set()
    asking.join(20)
    server.should_exit = True
    taking_over.join(20)
    assert set(seen[:5]) == {503}
    assert set(seen[since:]) == {200}
    assert set(seen) == {200, 503}
