"""Requests of many users put together into batches, each of which is as large as the load makes it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Batching:
    """How requests go together.

    Attributes:
        max_batch: rows in one batch.
        wait_s: seconds that a batch which is not full waits for more rows.
        at_once: batches that may be at work at the same time; what comes meanwhile goes together.
        full_at_once: batches that may be at work where a full one waits; no fewer than `at_once` in any case.
    """

    max_batch: int = 16
    wait_s: float = 0.0
    at_once: int = 1
    full_at_once: int = 1


class BatchQueue:
    """A batch begins as soon as one may; what comes while as many are at work as may be is in the next one.

    (Serve's own `@serve.batch` closes a batch by the clock, also while the one before is at work: where a batch takes
    much longer than the wait, many small ones then stand in line.)

    Args:
        work: answers a batch, given as rows, in its order; an answer that is an exception is raised to who asked. It is
            cancelled where all who asked are.
        batching: how many go together.
    """

    def __init__(self, work: Callable[[Sequence[Row]], Awaitable[Sequence[Any]]], batching: Batching) -> None:
        self._work, self._batching = work, batching
        self._waiting: deque[tuple[Row, asyncio.Future[Any]]] = deque()
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, *row: Any) -> Any:
        """The answer to one row. A row whose asker is cancelled before its batch begins is left out.

        Raises:
            Exception: its answer, or what `work` raised.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, answer))
        if self._may_begin():
            self._running += 1
            task = asyncio.create_task(self._run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await answer

    def _may_begin(self) -> bool:
        full = len(self._waiting) >= self._batching.max_batch
        return self._running < self._batching.at_once or (full and self._running < self._batching.full_at_once)

    async def _run(self) -> None:
        try:
            if len(self._waiting) < self._batching.max_batch:
                await asyncio.sleep(self._batching.wait_s)
            while batch := self._next():
                await self._answer(batch)
                await asyncio.sleep(0)  # let those that were answered ask again before the next batch closes
                if self._running > self._batching.at_once and len(self._waiting) < self._batching.max_batch:
                    break
        finally:
            self._running -= 1

    async def _answer(self, batch: list[tuple[Row, asyncio.Future[Any]]]) -> None:
        rows, askers = zip(*batch, strict=True)
        working = asyncio.ensure_future(self._work(rows))

        def abandon(_: asyncio.Future[Any]) -> None:
            if all(asker.done() for asker in askers):
                working.cancel()

        for asker in askers:
            asker.add_done_callback(abandon)
        await asyncio.wait({working})
        if working.cancelled():
            answers: Sequence[Any] = [asyncio.CancelledError()] * len(rows)
        elif error := working.exception():
            answers = [error] * len(rows)
        else:
            answers = working.result()
        for asker, answer in zip(askers, answers, strict=True):
            if asker.done():
                continue  # cancelled while its batch was at work
            if isinstance(answer, asyncio.CancelledError):
                asker.cancel()
            elif isinstance(answer, Exception):
                asker.set_exception(answer)
            else:
                asker.set_result(answer)

    def _next(self) -> list[tuple[Row, asyncio.Future[Any]]]:
        batch: list[tuple[Row, asyncio.Future[Any]]] = []
        while self._waiting and len(batch) < self._batching.max_batch:
            row, asker = self._waiting.popleft()
            if not asker.done():
                batch.append((row, asker))
        return batch
