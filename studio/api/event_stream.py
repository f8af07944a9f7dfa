"""Server-sent events: an answer that is sent piece by piece until its source ends or its client goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

CLOSE_DEADLINE_S = 15.0
KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"
_T = TypeVar("_T")


def server_sent(name: str, data: dict[str, Any]) -> bytes:
    """One event with a name and data as JSON."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=True)}\n\n".encode()


async def until_gone(receive: Receive, work: Coroutine[Any, Any, _T]) -> _T:
    """What the work returns, or its end where the client goes before. The body must have been read.

    Raises:
        ClientDisconnect: the client has gone; the work was cancelled and has ended.
        TimeoutError: the cancelled work did not end.
    """
    working, gone = asyncio.create_task(work), asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        gone.result()
        raise ClientDisconnect
    finally:
        working.cancel()
        gone.cancel()
        _, left = await asyncio.wait({working, gone}, timeout=CLOSE_DEADLINE_S)
        if left:
            raise TimeoutError(f"the work for a client that has gone did not end within {CLOSE_DEADLINE_S:g} s")


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(Response):
    """Sends what `events` yields, and awaits `close` in every case: at the end, when the client goes, on a failure."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None], close: Callable[[], Awaitable[None]]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events, self._close = events, close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # `close` does not rest with the generator, whose `finally` would not run where nothing was asked of it yet.
        try:
            async with aclosing(self._events):
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                await until_gone(receive, self._send_all(send))
        finally:
            await self._close()

    async def _send_all(self, send: Send) -> None:
        async for event in self._events:
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
