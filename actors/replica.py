"""What every replica of a fleet answers."""

from __future__ import annotations

import time
from typing import Any

from actors.gpu import peak_gpu_bytes
from actors.site import Site, this_site


class Replica:
    """A model in a process of its own, with the name by which its fleet knows it."""

    replica: str

    def __repr__(self) -> str:
        """What Ray's dashboard and logs call the process. Unlike an actor's name it need not be unique in a cluster."""
        return self.replica

    def site(self) -> Site:
        """Where it is: it has loaded, and takes calls."""
        return this_site()

    def timed(self, method: str, *arguments: Any, **keywords: Any) -> tuple[Any, float]:
        """The answer of a method, and the seconds that it took here, without the way to and fro."""
        began = time.monotonic()
        answer = getattr(self, method)(*arguments, **keywords)
        return answer, time.monotonic() - began

    def peak_gpu_bytes(self) -> int:
        """See `actors.gpu`."""
        return peak_gpu_bytes()
