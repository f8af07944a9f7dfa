"""The episodes of one request, all under way at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing
from typing import NamedTuple

from studio.episodes.metrics import GatewayMetrics
from studio.episodes.service import Ask, Finished, Service, ServiceUnavailable, TurnReady, TurnTimeout

CLOSE_DEADLINE_S = 10.0
_LOG = logging.getLogger(__name__)


class ItemEvent(NamedTuple):
    """What came of one of a request's episodes."""

    item: int
    event: TurnReady | Finished


class EpisodeBatch:
    """Runs one episode for each `Ask` from its construction on. Whoever makes one must `close` it, which frees what
    still works for it.

    Args:
        turn_deadline_s: how long one turn may take; an episode may take as many of these as it has turns, one for its
            first image and one for its wait.
    """

    def __init__(self, service: Service, asks: Sequence[Ask], metrics: GatewayMetrics, turn_deadline_s: float) -> None:
        self.asks = tuple(asks)
        self._service, self._metrics, self._turn_deadline_s = service, metrics, turn_deadline_s
        self._events: asyncio.Queue[ItemEvent | Exception] = asyncio.Queue()
        self._unfinished = len(self.asks)
        self._tasks = {asyncio.create_task(self._follow(item, ask)) for item, ask in enumerate(self.asks)}

    @property
    def open(self) -> bool:
        """Whether more events will come."""
        return self._unfinished > 0

    async def next(self, wait_s: float | None = None) -> ItemEvent | None:
        """The next event of any episode; None where none has come within `wait_s` seconds.

        Raises:
            ServiceUnavailable: a role cannot answer.
            TurnTimeout: a turn or the whole episode passed its deadline.
            Exception: whatever else the service raised.
        """
        try:
            async with asyncio.timeout(wait_s):
                event = await self._events.get()
        except TimeoutError:
            return None
        if isinstance(event, Exception):
            raise event
        if isinstance(event.event, Finished):
            self._unfinished -= 1
        return event

    async def close(self) -> None:
        """End what is still under way and wait until it is freed."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=CLOSE_DEADLINE_S)
            if left:
                _LOG.error("%d cancelled episodes were not freed within %g s", len(left), CLOSE_DEADLINE_S)

    async def _follow(self, item: int, ask: Ask) -> None:
        deadline_s = (ask.turns + 2) * self._turn_deadline_s
        finished = False
        try:
            async with asyncio.timeout(deadline_s), aclosing(self._service.episode(ask)) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        finished = True
                        self._metrics.finished(ask.model, event)
                    self._events.put_nowait(ItemEvent(item, event))
            if not finished:
                raise RuntimeError("the service ended an episode without its end")
        except asyncio.CancelledError:
            if not finished:
                self._metrics.ended(ask.model, "cancelled")
            raise
        except ServiceUnavailable as error:
            self._fail(ask, "unavailable", error)
        except TurnTimeout as error:
            self._fail(ask, "timeout", error)
        except TimeoutError:
            self._fail(ask, "timeout", TurnTimeout(f"the episode had not ended after {deadline_s:g} s"))
        except Exception as error:  # whoever asks `next` gets it
            self._fail(ask, "failed", error)

    def _fail(self, ask: Ask, outcome: str, error: Exception) -> None:
        self._metrics.ended(ask.model, outcome)
        self._events.put_nowait(error)
