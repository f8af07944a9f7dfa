"""Wall-clock and CPU seconds of named parts of a computation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any


@dataclass(frozen=True)
class Seconds:
    """Wall-clock seconds, and seconds that all threads of this process computed, which other work hardly changes."""

    wall: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.wall + other.wall, self.cpu + other.cpu)

    def __sub__(self, other: Seconds) -> Seconds:
        return Seconds(self.wall - other.wall, self.cpu - other.cpu)

    @classmethod
    def now(cls) -> Seconds:
        """A reading of both clocks, of which only differences mean something."""
        return cls(time.perf_counter(), time.process_time())


@dataclass
class Clock:
    """Adds up the seconds of parts by name. A part inside another one counts for itself only, so that parts add up."""

    parts: dict[str, Seconds] = field(default_factory=dict)
    _inner: list[Seconds] = field(default_factory=list)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the block under `name`."""
        began = Seconds.now()
        self._inner.append(Seconds())
        try:
            yield
        finally:
            spent = Seconds.now() - began
            inner = self._inner.pop()
            self.parts[name] = self.parts.get(name, Seconds()) + spent - inner
            if self._inner:
                self._inner[-1] += spent

    def watch(self, owner: Any, method: str, name: str) -> None:
        """Count every later call of `owner.method` under `name`; `owner` is an object or a module."""
        call: Callable[..., Any] = getattr(owner, method)

        @wraps(call)
        def counted(*args: Any, **kwargs: Any) -> Any:
            with self.part(name):
                return call(*args, **kwargs)

        setattr(owner, method, counted)

    def take(self) -> dict[str, Seconds]:
        """The parts so far; the clock starts again from nothing."""
        parts, self.parts = self.parts, {}
        return parts


def total(parts: dict[str, Seconds]) -> Seconds:
    """The sum of all parts."""
    return sum(parts.values(), Seconds())
