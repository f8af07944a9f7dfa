"""What every replica of a fleet answers."""

from __future__ import annotations

import time
from typing import Any


class Replica:
    """A model in a process of its own, with the name by which its fleet knows it."""

    replica: str

    def ping(self) -> str:
        """The replica's name: it is loaded and takes calls."""
        return self.replica

    def timed(self, method: str, *arguments: Any, **keywords: Any) -> tuple[Any, float]:
        """The answer of a method, and the seconds that it took here, without the way to and fro."""
        began = time.monotonic()
        answer = getattr(self, method)(*arguments, **keywords)
        return answer, time.monotonic() - began
