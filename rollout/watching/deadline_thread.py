"""A thread for calls into foreign code that may raise or hang: each has a deadline, and none can hold the run up."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class DeadlineThread:
    """Calls that are made one after the other in one daemon thread.

    After a call that missed its deadline the following ones are refused at once, until it has come back.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[tuple[Callable[[], object], queue.SimpleQueue[str | None]]] = queue.SimpleQueue()
        self._late: queue.SimpleQueue[str | None] | None = None  # where the answer that is overdue will come
        self._thread: threading.Thread | None = None

    def run(self, call: Callable[[], object], deadline_s: float) -> str | None:
        """Make a call and wait for its end, at most `deadline_s` seconds: None, or what went wrong in one line."""
        if self._late is not None:
            if self._late.empty():
                return "left out: an earlier call has not come back"
            self._late = None
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        answer: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._calls.put((call, answer))
        try:
            return answer.get(timeout=deadline_s)
        except queue.Empty:
            self._late = answer
            return f"no answer within {deadline_s:g} s"

    def _work(self) -> None:
        while True:
            call, answer = self._calls.get()
            try:
                call()
            except BaseException as error:  # foreign code may raise anything; whoever called hears of it
                lines = str(error).strip().splitlines()
                answer.put(f"{type(error).__name__}: {lines[-1] if lines else 'no message'}")
            else:
                answer.put(None)
