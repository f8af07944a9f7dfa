"""What surrounds every answer: an id, headers that keep browsers safe, a count, and a plain 500 for what went wrong."""

from __future__ import annotations

import time

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.api.failure_log import log_failure, request_id
from studio.api.request_head import check_head
from studio.episodes.metrics import GatewayMetrics
from studio.errors import ApiError, internal

CLIENT_GONE = 499
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Envelope:
    """ASGI middleware around the whole app. No exception leaves it, because servers log these with their tracebacks."""

    def __init__(self, app: ASGIApp, metrics: GatewayMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        id_ = request_id(scope)
        status: int | None = None

        async def send_enveloped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = id_
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        self._metrics.begin()
        started = time.monotonic()
        ended = CLIENT_GONE  # stays so where the request is cancelled
        try:
            check_head(scope)
            await self._app(scope, receive, send_enveloped)
            ended = status or CLIENT_GONE
        except ApiError as error:
            ended = error.status
            await error.response()(scope, receive, send_enveloped)
        except ClientDisconnect:
            pass  # nobody is there to be told
        except Exception as error:
            log_failure(id_, error)
            ended = 500
            if status is None:
                await internal(id_).response()(scope, receive, send_enveloped)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.end(method, route, ended, time.monotonic() - started)
