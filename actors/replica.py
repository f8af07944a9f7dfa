"""What every replica of a fleet answers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from actors.gpu import gpu_uuid, peak_gpu_bytes, release_gpu_memory

if TYPE_CHECKING:
    import torch

    from actors.site import Site


class Replica:
    """A model in a process of its own, with the name by which its fleet knows it."""

    replica: str
    model: Any  # with a diffusers pipeline as `pipe`
    _left: torch.device | None = None  # where a model that sleeps was

    def __repr__(self) -> str:
        """What Ray's dashboard and logs call the process. Unlike an actor's name it need not be unique in a cluster."""
        return self.replica

    def site(self) -> Site:
        """Where it is: it has loaded, and takes calls."""
        from actors.site import this_site  # loads Ray, which a model in the process that asks it does without

        return this_site()

    def timed(self, method: str, *arguments: Any, **keywords: Any) -> tuple[Any, float]:
        """The answer of a method, and the seconds that it took here, without the way to and fro."""
        began = time.monotonic()
        answer = getattr(self, method)(*arguments, **keywords)
        return answer, time.monotonic() - began

    def peak_gpu_bytes(self) -> int:
        """See `actors.gpu`."""
        return peak_gpu_bytes()

    def gpu_uuid(self) -> str | None:
        """See `actors.gpu`."""
        return gpu_uuid()

    def sleep(self) -> None:
        """Leave the GPU, for others that work there: the model waits in CPU memory."""
        if self._left is None:
            self._left = self.model.pipe.device
            _move(self.model.pipe, "cpu")
            release_gpu_memory()

    def wake(self) -> None:
        """Be back where the model was before `sleep`."""
        if self._left is not None:
            _move(self.model.pipe, self._left)
            self._left = None


def _move(pipe: Any, device: str | torch.device) -> None:
    from actors.pipelines.text_encoders import move  # loads torch, which whoever holds a handle does not need

    move(pipe, device)
