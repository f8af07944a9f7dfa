"""The measuring side, as a peer's process sees it."""

from __future__ import annotations

import time
from multiprocessing.connection import Connection

from benchmarks.peers.work import Work


class Turns:
    """Says when an update begins, and hears when it is complete."""

    def __init__(self, connection: Connection, work: Work) -> None:
        self._connection, self._work, self._began = connection, work, 0.0

    def wait(self) -> None:
        """Return when an update is wanted.

        Raises:
            EOFError: nothing more is wanted.
        """
        while (question := self._connection.recv())[0] != "update":
            began = time.perf_counter()
            if question[0] == "draw":
                self._work.models.diffuser.draw(*question[1:])
            self._connection.send({question[0]: time.perf_counter() - began})
        self._work.clock.take()
        self._began = time.perf_counter()

    def done(self) -> None:
        """The update is complete."""
        seconds = {name: spent.wall for name, spent in self._work.clock.take().items()}
        self._connection.send({**seconds, "update": time.perf_counter() - self._began})
