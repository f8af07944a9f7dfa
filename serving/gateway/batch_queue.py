"""Requests of many users put together into batches, each of which is as large as the load makes it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

Row = tuple[Any, ...]


class BatchQueue:
    """One batch is at work at a time; what comes meanwhile is in the next one.

    (Serve's own `@serve.batch` closes a batch by the clock, also while the one before is at work: where a batch takes
    much longer than the wait, many small ones then stand in line.)

    Args:
        work: answers a batch, given as rows, in its order; an answer that is an exception is raised to who asked.
        max_batch: rows in one batch.
        wait_s: seconds that a batch which is not full waits for more rows where nothing is at work.
    """

    def __init__(
        self, work: Callable[[Sequence[Row]], Awaitable[Sequence[Any]]], max_batch: int, wait_s: float
    ) -> None:
        self._work, self._max_batch, self._wait_s = work, max_batch, wait_s
        self._waiting: deque[tuple[Row, asyncio.Future[Any]]] = deque()
        self._working: asyncio.Task[None] | None = None

    async def ask(self, *row: Any) -> Any:
        """The answer to one row. A row whose asker is cancelled before its batch begins is left out.

        Raises:
            Exception: its answer, or what `work` raised.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, answer))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        if len(self._waiting) < self._max_batch:
            await asyncio.sleep(self._wait_s)
        while batch := self._next():
            rows, askers = zip(*batch, strict=True)
            try:
                answers = await self._work(rows)
            except Exception as error:
                answers = [error] * len(rows)
            for asker, answer in zip(askers, answers, strict=True):
                if asker.done():
                    continue  # cancelled while its batch was at work
                if isinstance(answer, Exception):
                    asker.set_exception(answer)
                else:
                    asker.set_result(answer)
            await asyncio.sleep(0)  # let those that were answered ask again before the next batch closes

    def _next(self) -> list[tuple[Row, asyncio.Future[Any]]]:
        batch = []
        while self._waiting and len(batch) < self._max_batch:
            row, asker = self._waiting.popleft()
            if not asker.done():
                batch.append((row, asker))
        return batch
