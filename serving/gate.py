"""The gate between batches and updates of the weights."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from serving.generation import ReplicaBroken


class Gate:
    """Lets any number of batches through at once, or one update: no batch ever sees two versions of the weights."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._batches = 0
        self._updating = False
        self._closed: str | None = None

    def close(self, reason: str) -> None:
        """Let nothing through any more; what is inside may finish."""
        self._closed = reason

    def refuse_if_closed(self) -> None:
        """Raise the reason for which the gate was closed, as `ReplicaBroken`."""
        if self._closed:
            raise ReplicaBroken(self._closed)

    @contextmanager
    def closed_by_loss(self, name: str, dead: type[Exception]) -> Iterator[None]:
        """Close the gate where the code inside says, with an error of the kind `dead`, that the engine's process has
        ended, or that the process or its engine gets no memory: the next one may.

        Raises:
            ReplicaBroken: that happened; the message begins with `name`.
        """
        try:
            yield
        except ReplicaBroken:
            raise
        except Exception as error:
            from actors.site import lacks_memory, last_line  # it loads Ray

            if isinstance(error, dead):
                lost = f"{name} lost its engine, a process of its own; the log says what ended it"
            elif lacks_memory(error):
                lost = f"{name} could not get the memory that it needs: {last_line(error)}"
            else:
                raise
            self.close(lost)
            raise ReplicaBroken(lost) from error

    @asynccontextmanager
    async def batch(self) -> AsyncIterator[None]:
        """Wait until no update is under way or waiting, then hold updates back.

        Raises:
            ReplicaBroken: the gate is closed.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: not self._updating)
            self.refuse_if_closed()
            self._batches += 1
        try:
            yield
        finally:
            async with self._changed:
                self._batches -= 1
                self._changed.notify_all()

    @asynccontextmanager
    async def update(self, deadline_s: float) -> AsyncIterator[None]:
        """Hold new batches back and wait until those inside have finished.

        Raises:
            ReplicaBroken: the gate is closed.
            TimeoutError: another update or a batch was still inside after `deadline_s` seconds.
        """
        try:
            async with asyncio.timeout(deadline_s), self._changed:
                await self._changed.wait_for(lambda: not self._updating)
                self.refuse_if_closed()
                self._updating = True
                try:
                    await self._changed.wait_for(lambda: self._batches == 0)
                except BaseException:
                    self._updating = False
                    self._changed.notify_all()
                    raise
        except TimeoutError as error:
            inside = f"{self._batches} batches" if self._batches else "another update"
            raise TimeoutError(f"new weights waited {deadline_s} s for {inside} to finish") from error
        try:
            yield
        finally:
            async with self._changed:
                self._updating = False
                self._changed.notify_all()
