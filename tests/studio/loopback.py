"""A real HTTP server on the loopback address, in a thread of the test's process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from serving.proxy.limits import LimitedProtocol

DEADLINE_S = 20.0


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The base URL under which this app is served."""
    options = {"http": LimitedProtocol, "proxy_headers": False, "log_level": "warning", "lifespan": "off"}
    server = uvicorn.Server(uvicorn.Config(app, port=0, **options))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started, "the server's start")
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(DEADLINE_S)
        assert not thread.is_alive(), f"the server did not end within {DEADLINE_S} s"


def wait_for(condition, what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it did not within `deadline_s` seconds.
    """
    ends = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError(f"waited {deadline_s} s for {what}")
        time.sleep(0.01)
