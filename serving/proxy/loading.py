"""What a port answers before there is an endpoint behind it: that it loads, and never that something does not exist."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, JSONResponse, Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATIENCE_S = 1.0
"""How long a request waits for the endpoint's process before it is told that this one starts."""
_HEADERS = {"Retry-After": "1", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_STYLE = "font-family: system-ui, sans-serif; color-scheme: light dark; margin: 10vh auto; max-width: 40rem"
_PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Loading</title>
</head>
<body style="{_STYLE}">
<h1>Loading</h1>
<p role="status">{{what}}. This page opens by itself as soon as it can.</p>
</body>
</html>
"""


class StillLoading:
    """ASGI app that answers every request with status 503: pages with one that loads itself again every second,
    `/readyz` as the endpoint's does, all else with an error as OpenAI's API tells them.

    Args:
        what: what is starting now, as a sentence without its end. It is said to strangers.
    """

    def __init__(self, what: Callable[[], str]) -> None:
        self._what = what

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._answer(scope["path"])(scope, receive, send)

    def _answer(self, path: str) -> Response:
        if path == "/readyz":
            return JSONResponse({"ready": False, "roles": {"endpoint": "not ready"}}, 503, _HEADERS)
        if path == "/healthz" or path.startswith("/v1"):
            error = {"message": f"{self._what()}; ask again", "type": "server_error", "param": None}
            return JSONResponse({"error": {**error, "code": "service_unavailable"}}, 503, _HEADERS)
        return HTMLResponse(_PAGE.format(what=html.escape(self._what())), 503, {**_HEADERS, "Refresh": "1"})


class UntilServed:
    """ASGI middleware around Serve's proxy. Until an application has answered for the first time, Serve's "path not
    found" and a wait of more than `PATIENCE_S` for its process become the answer of `StillLoading`. Paths below `/-/`
    are Serve's own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._served = app, False
        self._loading = StillLoading(lambda: "The endpoint starts")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._served or scope["type"] != "http" or scope["path"].startswith("/-/"):
            await self._app(scope, receive, send)
        elif not await self._answered(scope, receive, send):
            await self._loading(scope, receive, send)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Whether an application answered; where none did, nothing was sent."""
        begun: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        async def send_if_served(message: Message) -> None:
            if message["type"] == "http.response.start" and not begun.done():
                self._served = self._served or message["status"] != 404 or _of_an_application(message)
                begun.set_result(self._served)
            if begun.done() and begun.result():
                await send(message)

        answering: asyncio.Future[Any] = asyncio.ensure_future(self._app(scope, receive, send_if_served))
        try:
            await asyncio.wait([answering, begun], timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
            if begun.done() and begun.result():
                await answering
                return True
            begun.cancel()
            if answering.done():
                answering.result()  # an error is none of loading
            return False
        finally:
            if not answering.done():
                answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)


def _of_an_application(message: Message) -> bool:
    """Whether a 404 is the endpoint's own, which says how browsers should take it, as Serve's does not."""
    return any(name.lower() == b"x-content-type-options" for name, _ in message["headers"])
