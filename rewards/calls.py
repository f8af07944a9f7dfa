"""Calls that go on at the same time, each with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class Call(Generic[T]):
    """A function in a thread of its own, of this name. One that misses its deadline is left behind, and its answer with
    it."""

    def __init__(self, name: str, function: Callable[[], T], deadline_s: float) -> None:
        self._function, self._deadline_s = function, deadline_s
        self._answer: T | None = None
        self._error: Exception | None = None
        self._done = threading.Event()
        self._began = time.monotonic()
        self.seconds = 0.0
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        try:
            self._answer = self._function()
        except Exception as error:
            self._error = error
        self.seconds = time.monotonic() - self._began
        self._done.set()

    def ended(self) -> bool:
        """Whether it has come to an end, as soon as that is so, or when `deadline_s` have passed since it began."""
        return self._done.wait(max(0.0, self._began + self._deadline_s - time.monotonic()))

    def wait(self) -> T:
        """The answer.

        Raises:
            TimeoutError: there is none within `deadline_s` of the beginning.
            Exception: what the function raised.
        """
        if not self.ended():
            self.seconds = time.monotonic() - self._began
            raise TimeoutError(f"no values within deadline_s = {self._deadline_s:g} s")
        if self._error is not None:
            raise self._error
        return self._answer  # type: ignore[return-value]


def started(functions: Mapping[str, tuple[Callable[[], T], float]]) -> dict[str, Call[T]]:
    """All of these functions under way, each with its deadline in seconds."""
    return {name: Call(f"scorer {name}", function, deadline_s) for name, (function, deadline_s) in functions.items()}
