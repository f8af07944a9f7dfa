"""HTTP from this process, with the limits of the served path."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Thread
from typing import TYPE_CHECKING

from serving.proxy.http_server import BACKLOG, limited_server
from studio.exposure import bound, in_url

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from studio.config import GatewayConfig


def run_server(app: ASGIApp, gateway: GatewayConfig, beside: Callable[[str], None]) -> None:
    """Answer HTTP as Ray Serve's proxy does with `serving.proxy.limits`, until a signal ends it.

    Args:
        beside: is called in a thread with the address once that listens. Where it raises, the server ends.

    Raises:
        BadInput: this machine cannot listen there.
        Exception: what `beside` raised.
    """
    listener = bound(gateway.host, gateway.port)
    listener.listen(BACKLOG)
    port: int = listener.getsockname()[1]
    server = limited_server(app)
    failures: list[Exception] = []

    def work() -> None:
        try:
            beside(f"http://{in_url(gateway.host)}:{port}")
        except Exception as error:  # it is raised where the server was started
            failures.append(error)
            server.should_exit = True

    # Nobody waits for the end of a thread that loads: an interrupt ends the process at once.
    Thread(target=work, name="beside", daemon=True).start()
    try:
        asyncio.run(server.serve([listener]))
    except KeyboardInterrupt:
        if failures:
            raise failures[0] from None
    if failures:
        raise failures[0]
