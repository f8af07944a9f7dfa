"""What Ray Serve's HTTP proxy takes from a stranger before any app sees it: heads of bounded size, in bounded time.

Serve has no settings for this. Its proxy calls `guard` when it starts, in its own process, because the environment that
`rollout.local_ray` gives to Ray's processes says so.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from typing import TYPE_CHECKING, Any

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.proxy.loading import UntilServed

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_HEAD_BYTES = 64 * 1024
"""The longest request line with headers, and the longest stretch between two parts of a body."""
HEAD_DEADLINE_S = 10.0
"""How long a head may take to come."""
MAX_CONNECTIONS = 512
"""Connections at the same time, those that wait for an answer included; one more is told to come back."""
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PIECE = 16 * 1024
_PHRASES = {
    400: "Bad Request",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
# Headers by which Serve lets a client choose a replica or a deadline. Nobody outside has a say in that.
_OF_SERVE = frozenset({b"serve_multiplexed_model_id", b"x_session_id", b"x_request_timeout_seconds"})


def guard() -> list[Middleware]:
    """Make this process's HTTP servers keep the limits.

    Returns:
        What surrounds Serve's own app, the innermost first.
    """
    from uvicorn.config import HTTP_PROTOCOLS

    HTTP_PROTOCOLS["auto"] = f"{__name__}:{LimitedProtocol.__name__}"
    return [Middleware(UntilServed), Middleware(OneRequestId)]


class LimitedProtocol(HttpToolsProtocol):
    """One connection. It is closed with an error as OpenAI's API tells them where a head, or what stands between two
    parts of a body, is longer than `MAX_HEAD_BYTES`, where a head has not come whole within `HEAD_DEADLINE_S`, and
    where `MAX_CONNECTIONS` others are open. It speaks HTTP only, no WebSockets."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.ws_protocol_class = None
        self._unread, self._refused = 0, False
        self._overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse(503, f"{MAX_CONNECTIONS} connections are open, which is all there may be; try again later")
        else:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # In pieces, so that a parser that collects a head can never hold more than the limit and one piece.
        for start in range(0, len(data), _PIECE):
            if self._refused or self.parser is None:
                return
            self._unread += min(_PIECE, len(data) - start)
            super().data_received(data[start : start + _PIECE])
            if self._unread > MAX_HEAD_BYTES:
                self._refuse(431, f"the request's headers are too long; send at most {MAX_HEAD_BYTES} bytes")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._overdue is None:
            self._wait_for_head()

    def on_headers_complete(self) -> None:
        self._unread = 0
        self._head_came()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unread = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, f"the request is not HTTP: {msg}")

    def _wait_for_head(self) -> None:
        message = f"the request's headers had not come whole after {HEAD_DEADLINE_S:g} s; send them faster"
        self._overdue = self.loop.call_later(HEAD_DEADLINE_S, self._refuse, 408, message)

    def _head_came(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _refuse(self, status: int, message: str) -> None:
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._head_came()
        kind, code = (
            ("server_error", "service_unavailable") if status == 503 else ("invalid_request_error", "invalid_http")
        )
        error = {"message": message, "type": kind, "param": None, "code": code}
        body = json.dumps({"error": error}).encode()
        head = [
            f"HTTP/1.1 {status} {_PHRASES[status]}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            f"X-Request-Id: {secrets.token_hex(8)}",
            "Connection: close",
            *(["Retry-After: 1"] if status == 503 else []),
        ]
        if self.cycle is None or self.cycle.response_complete:  # else an answer is under way, which this would garble
            self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        self.transport.close()


class OneRequestId:
    """ASGI middleware around Serve's own, which adds an id to the one that the app has given an answer. A client's id
    stays where it is one (`REQUEST_ID`)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        id_ = given_id(scope) or secrets.token_hex(8)
        kept = [(name, value) for name, value in scope["headers"]
                if name != b"x-request-id" and name.replace(b"-", b"_") not in _OF_SERVE]  # fmt: skip
        scope = {**scope, "headers": [*kept, (b"x-request-id", id_.encode())]}

        async def send_with_one(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                del headers["X-Request-Id"]
                headers["X-Request-Id"] = id_
            await send(message)

        await self._app(scope, receive, send_with_one)


def given_id(scope: Scope) -> str | None:
    """The id that a request brings along; None where it brings none, several, or what is no id."""
    given = [value for name, value in scope["headers"] if name == b"x-request-id"]
    id_ = str(given[0], "latin-1") if len(given) == 1 else ""
    return id_ if REQUEST_ID.fullmatch(id_) else None
