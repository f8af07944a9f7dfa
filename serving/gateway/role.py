"""One role of the service (Diffuser, editor, Actor, Checker) as an episode asks it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException

from serving.gateway.service import ServiceUnavailable, TurnTimeout
from serving.generation import ReplicaBroken

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

    Attributes:
        lost: how many requests a lost replica left unanswered so far.
    """

    def __init__(self, name: str, handle: DeploymentHandle) -> None:
        self.name, self.handle, self.lost = name, handle, 0

    async def ask(
        self, method: str, *arguments: Any, ends: float, stale: Callable[[Any], bool] = lambda _: False
    ) -> Any:
        """The answer of one replica. A cancelled call is cancelled at the replica, too.

        Args:
            method: of the deployment.
            arguments: its arguments.
            ends: when the answer must be there, by `time.monotonic`.
            stale: says that an answer came from a replica with other weights than it should have; then another is
                asked for.

        Raises:
            TurnTimeout: no answer until `ends`, and no replica was lost.
            ServiceUnavailable: a replica was lost, or has other weights, and none took its place until `ends`.
            Exception: whatever the method raised.
        """
        lost = False
        while (left := ends - time.monotonic()) > 0:
            response = getattr(self.handle, method).remote(*arguments)
            try:
                async with asyncio.timeout(left) as limit:
                    answer = await response
                if not stale(answer):
                    return answer
            except Exception as error:
                if limit.expired():
                    break
                if not is_loss(error):
                    raise
            lost = True
            self.lost += 1
            await asyncio.sleep(min(_POLL_S, max(0.0, ends - time.monotonic())))
        if lost:
            raise ServiceUnavailable(f"the {self.name} cannot answer now; ask again", _RETRY_AFTER_S)
        raise TurnTimeout(f"the {self.name} did not answer within the time that a turn may take")


def is_loss(error: Exception) -> bool:
    """Whether an error says that a replica is not there any more, rather than what its code raised."""
    if isinstance(error, RayTaskError):
        return isinstance(error, ReplicaBroken | TimeoutError)
    return isinstance(error, RayError | RayServeException)
