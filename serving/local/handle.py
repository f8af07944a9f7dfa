"""The shape of a Ray Serve handle, for a replica in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serving.generation import Answer, Batch, Question, Sampling

if TYPE_CHECKING:
    import numpy as np

    from serving.config import VlmConfig
    from serving.local.vlm import LocalVlm


@dataclass(frozen=True)
class _Method:
    handle: LocalHandle
    name: str

    def remote(self, *arguments: Any) -> Awaitable[Any]:
        """Its answer. A call that is cancelled before it began never begins; one that works goes on."""
        return asyncio.wrap_future(self.handle.submit(self.name, *arguments))


class LocalHandle:
    """`await handle.METHOD.remote(…)` calls a replica of this process, one call after the other on its own thread.

    Args:
        absent: makes what is raised as long as no replica was `put` in.
    """

    def __init__(self, absent: Callable[[], Exception]) -> None:
        self._absent, self._replica = absent, None
        self._thread: ThreadPoolExecutor | None = None

    def __getattr__(self, name: str) -> _Method:
        return _Method(self, name)

    def put(self, replica: Any, thread: ThreadPoolExecutor) -> None:
        """From now on this replica answers. Replicas that share a model share its thread."""
        self._replica, self._thread = replica, thread

    def submit(self, method: str, *arguments: Any) -> Any:
        """The `concurrent.futures.Future` of a method's answer.

        Raises:
            Exception: what `absent` made.
        """
        if self._thread is None:
            raise self._absent()
        return self._thread.submit(getattr(self._replica, method), *arguments)


class LocalVlmReplica:
    """A VLM of this process with the method of a `VlmServer` that episodes call."""

    def __init__(self, vlm: LocalVlm) -> None:
        self._vlm = vlm

    def generate_batch(self, batch: Batch) -> tuple[list[list[Answer]], float]:
        """The answers, and the seconds that they took; see `VlmServer.generate_batch`. The batch's deadline is the
        asker's to keep, as a thread cannot be ended."""
        before = self._vlm.compute_seconds
        answers = self._vlm.generate(batch.images, batch.questions, batch.sampling)
        return answers, self._vlm.compute_seconds - before


class HandledVlm:
    """What an Actor and a Checker need of a VLM (`serving.generation.Vlm`), behind a handle of a `LocalVlmReplica`.

    Attributes:
        compute_seconds: seconds that the replica worked on what was asked here.
    """

    def __init__(self, handle: LocalHandle, role: str, settings: VlmConfig) -> None:
        self.role, self.settings, self.compute_seconds, self._handle = role, settings, 0.0, handle

    def generate(
        self, images: Sequence[np.ndarray], questions: Sequence[Question], sampling: Sampling
    ) -> list[list[Answer]]:
        """Answers as `result[question][sample]`.

        Raises:
            TimeoutError: no answer within the `call_deadline_s` of the settings.
            Exception: as `LocalVlm.generate` and `LocalHandle.submit`.
        """
        deadline_s = self.settings.call_deadline_s
        batch = Batch(list(images), list(questions), sampling, deadline_s)
        answers, seconds = self._handle.submit("generate_batch", batch).result(deadline_s)
        self.compute_seconds += seconds
        found: list[list[Answer]] = answers
        return found
