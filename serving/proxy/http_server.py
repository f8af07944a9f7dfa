"""HTTP servers of this process that keep the same limits as Ray Serve's proxy."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import uvicorn

from serving.proxy.limits import LimitedProtocol, OneRequestId

if TYPE_CHECKING:
    from starlette.types import ASGIApp

BACKLOG = 2048
_END_S = 5


def bound_socket(host: str, port: int, shared: bool = False) -> socket.socket:
    """A socket at this address of this machine, which does not listen yet.

    Args:
        port: 0 takes a free one.
        shared: others that say so, too, may have the same port (`SO_REUSEPORT`).

    Raises:
        OSError: the port is taken, or the address is none of this machine.
    """
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        found.bind((host, port))
    except OSError:
        found.close()
        raise
    return found


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
