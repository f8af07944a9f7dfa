"""The gate between episodes and new weights: an episode sees one version of each policy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from serving.gate import Gate
from studio.episodes.service import ServiceUnavailable

_RETRY_AFTER_S = 10.0


class VersionGate:
    """Lets any number of episodes through at once, or one update of the weights. Episodes that come while one is under
    way, or waits for those inside, wait for it; those inside go on with the versions that they began with.

    Args:
        versions: by policy, what the replicas hold; 0 is what lies on disk.
        deadline_s: seconds that an episode may wait for an update, and an update for the episodes inside.
    """

    def __init__(self, versions: Mapping[str, int], deadline_s: float) -> None:
        self._gate, self._versions, self._deadline_s = Gate(), dict(versions), deadline_s
        self._inside = 0

    @property
    def versions(self) -> dict[str, int]:
        """By policy, what the next episode would see."""
        return dict(self._versions)

    @property
    def inside(self) -> int:
        """How many episodes are under way."""
        return self._inside

    @asynccontextmanager
    async def episode(self) -> AsyncIterator[dict[str, int]]:
        """Hold updates back for the block, and say which versions all of it sees.

        Raises:
            ServiceUnavailable: an update was not over within the deadline.
        """
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._deadline_s):
                    await stack.enter_async_context(self._gate.batch())
            except TimeoutError as error:
                raise ServiceUnavailable(
                    f"new weights were not in place within {self._deadline_s:g} s; ask again", _RETRY_AFTER_S
                ) from error
            self._inside += 1
            try:
                yield self.versions
            finally:
                self._inside -= 1

    @asynccontextmanager
    async def update(self, policy: str, version: int) -> AsyncIterator[None]:
        """Wait until no episode is inside and let none in for the block, after which `policy` is at `version`; after an
        error it stays at the version it had.

        Raises:
            TimeoutError: episodes, or another update, were still inside after the deadline.
        """
        async with self._gate.update(self._deadline_s):
            yield
            self._versions[policy] = version
