"""The port of an endpoint before Ray Serve listens there."""

from __future__ import annotations

from threading import Thread
from types import TracebackType
from typing import Self

from serving.proxy.http_server import BACKLOG, bound_socket, limited_server
from serving.proxy.loading import StillLoading

_END_S = 10.0


class EarlyPort:
    """Answers from this process that something is loading, until it is closed. Ray Serve's proxy can listen on the same
    port meanwhile (`SO_REUSEPORT`), so that no moment is without an answer.

    Args:
        host: the address.
        port: the port, which no other socket may have; 0 takes a free one.
        now: what is starting, as a sentence without its end. It can be changed while it answers.

    Raises:
        OSError: this machine cannot listen there.
    """

    def __init__(self, host: str, port: int, now: str) -> None:
        self.now = now
        with bound_socket(host, port) as alone:  # it fails where another process has the port, shared or not
            self.port: int = alone.getsockname()[1]
        listener = bound_socket(host, self.port, shared=True)
        listener.listen(BACKLOG)
        self._server = limited_server(StillLoading(lambda: self.now))
        self._thread = Thread(target=self._server.run, args=([listener],), name="early port", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no longer; what is being answered is answered first. A second call does nothing."""
        self._server.should_exit = True
        self._thread.join(_END_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
