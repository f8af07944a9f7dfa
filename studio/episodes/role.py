"""One role of the service (Diffuser, editor, Actor, Checker) as an episode asks it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from serving.batch_queue import Batching, BatchQueue
from studio.episodes.loss import is_loss
from studio.episodes.row_calls import RowCall
from studio.episodes.service import ServiceUnavailable, TurnTimeout

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

_POLL_S = 0.25
_RETRY_AFTER_S = 10.0


class Role:
    """Asks the replicas of one deployment, until a deadline.

    What a replica was asked when it was lost is asked again of the others, or of the one that takes its place. All
    requests of an episode follow from its seeds, so that an answer does not depend on how often it was asked for.

    Args:
        name: what messages call the role.
        handle: of its deployment.
        call: sends several requests, each a row, as one call.
        batching: how many of them go together.
        patient: leave a call that ran out of time to the replica, which notices by a deadline of its own that it hangs;
            otherwise it is cancelled.
        application: of Serve, where it has another name than the role.

    Attributes:
        lost: how many requests a lost replica left unanswered so far.
    """

    def __init__(
        self,
        name: str,
        handle: DeploymentHandle,
        call: RowCall,
        batching: Batching,
        patient: bool = False,
        application: str | None = None,
    ) -> None:
        self.name, self.handle, self.lost = name, handle, 0
        self.application = application or name
        self._batches = BatchQueue(lambda rows: call(handle, rows), batching)
        self._patient, self._left_alone = patient, set[asyncio.Task[Any]]()

    async def ask(self, *row: Any, ends: float, stale: Callable[[Any], bool] = lambda _: False) -> Any:
        """The answer of one replica. What is cancelled before its call began is left out of it; a call whose askers are
        all cancelled is cancelled at the replica, too.

        Args:
            row: what is asked.
            ends: when the answer must be there, by `time.monotonic`.
            stale: says that an answer came from a replica with other weights than it should have; then another is
                asked for.

        Raises:
            TurnTimeout: no answer until `ends`, and no replica was lost.
            ServiceUnavailable: a replica was lost, or has other weights, and none took its place until `ends`.
            Exception: whatever the replica's code raised.
        """
        lost = False
        while (left := ends - time.monotonic()) > 0:
            call = asyncio.create_task(self._batches.ask(*row))
            try:
                await asyncio.wait({call}, timeout=left)
            except asyncio.CancelledError:
                call.cancel()
                raise
            if not call.done():
                self._give_up(call)
                break
            try:
                if not stale(answer := call.result()):
                    return answer
            except Exception as error:
                if not is_loss(error):
                    raise
            lost = True
            self.lost += 1
            await asyncio.sleep(min(_POLL_S, max(0.0, ends - time.monotonic())))
        if lost:
            raise ServiceUnavailable(f"the {self.name} cannot answer now; ask again", _RETRY_AFTER_S)
        raise TurnTimeout(f"the {self.name} did not answer within the time that a turn may take")

    def _give_up(self, call: asyncio.Task[Any]) -> None:
        if not self._patient:
            call.cancel()
            return
        self._left_alone.add(call)
        call.add_done_callback(lambda done: done.cancelled() or done.exception())
        call.add_done_callback(self._left_alone.discard)
