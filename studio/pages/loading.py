"""What has not been there yet while an endpoint starts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from fastapi.responses import HTMLResponse

from studio.pages.links import ServedLinks
from studio.pages.rendering import render

Ready = Callable[[], Awaitable[Mapping[str, str]]]
_ANSWER_S = 5.0
_HEADERS = {"Refresh": "1", "Retry-After": "1", "Cache-Control": "no-store"}


class Loading:
    """Stands in for a page until all roles were ready once; later on, a page says itself what cannot be done.

    Args:
        ready: see `Service.ready`.
    """

    def __init__(self, ready: Ready) -> None:
        self._ready, self._over = ready, False

    async def page(self) -> HTMLResponse | None:
        """A page that loads itself again every second, with status 503; None where nothing is waited for."""
        if self._over:
            return None
        try:
            async with asyncio.timeout(_ANSWER_S):
                found = await self._ready()
        except TimeoutError:
            found = {"service": "it does not answer yet"}
        waits = [bool(why) for why in found.values()]
        self._over = not any(waits)
        if self._over:
            return None
        values = {"roles": found, "now": waits.count(False) + 1, "links": ServedLinks(), "scripts": [], "run": None}
        return HTMLResponse(render("loading", title="Loading", here="studio", **values), 503, _HEADERS)
