"""The replicas of an image model as the workers of a pool."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError

from actors.fleet import Fleet
from rollout.elastic.arrival import Arrival, Questions
from rollout.groups.stream import GroupStream
from weights.board import WeightBoard
from weights.manifest import WeightMismatch
from weights.receipts import WeightReceipt, verify_receipts

_WATCH_S = 5.0


class Replicas:
    """Lets replicas into a fleet and out of it. From now on one that is lost leaves the fleet.

    Args:
        fleet: of the driver; copies travel with the jobs.
        stream: gives the stream of groups, which knows the jobs.
        policy: whose weights a replica must hold before it joins; None for a frozen model.
        board: where the newest ones are.
    """

    def __init__(
        self,
        fleet: Fleet,
        stream: Callable[[], GroupStream],
        policy: str | None = None,
        board: WeightBoard | None = None,
    ) -> None:
        self._fleet, self._stream, self._policy, self._board = fleet, stream, policy, board
        self._handles: dict[str, ActorHandle] = {}  # of those that are no members
        self._arrivals: dict[str, Arrival] = {}
        self._left_at: dict[str, int] = {}  # jobs that were sent before
        self._watched: dict[str, ray.ObjectRef] = {}
        self._watch_at = 0.0
        fleet.elastic = True

    def members(self) -> Sequence[str]:
        """See `Workers`. The newest is the first to go."""
        return self._fleet.names

    def start(self) -> str:
        """See `Workers`."""
        name, handle = self._fleet.start_another()
        self._expect(name, handle)
        return name

    def ready(self, name: str) -> bool:
        """See `Workers`."""
        return self._arrivals[name].complete()

    def join(self, name: str) -> None:
        """See `Workers`."""
        del self._arrivals[name]
        self._fleet.join(name, self._handles.pop(name))

    def lost(self) -> Sequence[str]:
        """See `Workers`: those that a call of the driver missed, and those that do not answer the driver's question
        after them because they have ended. The last one stays and is waited for by whoever calls it."""
        self._watch()
        found = self._fleet.expelled
        self._fleet.expelled = {}
        for name, handle in found.items():
            self._watched.pop(name, None)
            self._expect(name, handle)
        return list(found)

    def leave(self, name: str) -> None:
        """See `Workers`."""
        self._watched.pop(name, None)
        self._handles[name] = self._fleet.leave(name)
        self._left_at[name] = self._stream().jobs

    def idle(self, name: str) -> bool:
        """See `Workers`: jobs that were sent later know nothing of it."""
        return not self._stream().in_flight_before(self._left_at[name])

    def end(self, name: str) -> None:
        """See `Workers`."""
        self._arrivals.pop(name, None)
        self._left_at.pop(name, None)
        ray.kill(self._handles.pop(name))

    def _expect(self, name: str, handle: ActorHandle) -> None:
        self._handles[name] = handle
        self._arrivals[name] = Arrival(lambda: self._questions(name, handle))

    def _questions(self, name: str, handle: ActorHandle) -> Questions:
        self._fleet.know(name, (yield handle.site.remote()))
        policy, board = self._policy, self._board
        if policy is None:
            return
        assert board is not None, "a policy that trains has a board"
        receipt: WeightReceipt = yield handle.receipt.remote()
        while receipt.version < _published(board, policy)[0]:  # a sync came between its start and now
            update = yield board.newest(policy)
            receipt = yield handle.apply_weights.remote(update)
            verify_receipts(update.manifest, [receipt], [name])
        version, digest = _published(board, policy)
        if version and (receipt.version, receipt.digest) != (version, digest):
            raise WeightMismatch(
                f"{name} holds policy {policy!r} version {receipt.version} with digest {receipt.digest}; the "
                f"newest is version {version} with digest {digest}"
            )

    def _watch(self) -> None:
        """Ask every member where it is, from time to time; who answers that it has ended is expelled."""
        questions = list(self._watched.values())
        answered = ray.wait(questions, num_returns=len(questions), timeout=0)[0] if questions else []
        for name, question in list(self._watched.items()):
            if question in answered:
                del self._watched[name]
                try:
                    ray.get(question, timeout=0)
                except RayActorError:
                    if name in self._fleet.names and len(self._fleet) > 1:
                        self._fleet.expel(name)
        if time.monotonic() >= self._watch_at:
            self._watch_at = time.monotonic() + _WATCH_S
            for name, handle in self._fleet.handles.items():
                if name not in self._watched:
                    self._watched[name] = handle.site.remote()


def _published(board: WeightBoard, policy: str) -> tuple[int, str]:
    return board.published.get(policy, (0, ""))
