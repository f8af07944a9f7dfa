"""Scorers that a run can go on without are let alone for a while after they failed."""

from __future__ import annotations

import time

_FIRST_S, _LONGEST_S = 5.0, 300.0


class Rest:
    """How long each scorer is not asked: 5 seconds after it failed, twice as long each time in a row, 5 minutes at
    most. Otherwise one that is dead would cost every batch its deadline."""

    def __init__(self) -> None:
        self._pause: dict[str, float] = {}
        self._until: dict[str, float] = {}

    def rests(self, name: str) -> bool:
        """Whether it should not be asked now."""
        return time.monotonic() < self._until.get(name, 0.0)

    def took(self, name: str, failed: bool) -> None:
        """It was asked for a batch."""
        if not failed:
            self._pause.pop(name, None)
            return
        self._pause[name] = min(_LONGEST_S, 2 * self._pause.get(name, _FIRST_S / 2))
        self._until[name] = time.monotonic() + self._pause[name]
