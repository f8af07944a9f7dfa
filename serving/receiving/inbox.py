"""Messages that one task hands to another and waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any


class Inbox:
    """`async for message in inbox` takes what is `put`, until `end`.

    Attributes:
        opened: set when the first message is asked for.
    """

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self._messages: asyncio.Queue[Any] = asyncio.Queue()

    async def put(self, message: Any) -> None:
        """Hand a message over, and return when the taker is done with it, that is, asks for the next one."""
        self._messages.put_nowait(message)
        await self._messages.join()

    def end(self) -> None:
        """There will be no more messages."""
        self._messages.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[Any]:
        self.opened.set()
        while (message := await self._messages.get()) is not None:
            yield message
            self._messages.task_done()
