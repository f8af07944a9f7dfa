"""HTTP servers of this process that keep the same limits as Ray Serve's proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import uvicorn

from serving.proxy.limits import LimitedProtocol, OneRequestId

if TYPE_CHECKING:
    from starlette.types import ASGIApp

BACKLOG = 2048
_END_S = 5


def limited_server(app: ASGIApp) -> uvicorn.Server:
    """A server of this app that was not started; a `should_exit` ends it, within 5 s where answers are under way."""
    return uvicorn.Server(
        uvicorn.Config(
            OneRequestId(app),
            http=LimitedProtocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            proxy_headers=False,  # the app itself says which proxies count
            server_header=False,
            timeout_graceful_shutdown=_END_S,
        )
    )
