"""The newest weights of every policy, for replicas that start after the last update: a Ray actor with a name.

The board owns its buckets, so that they outlive the learner that made them. It makes that copy after the replicas that
wait for the update have it, or before it answers the first one that starts meanwhile.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from weights.manifest import WeightUpdate, fetch, publish

_NAMESPACE = "rlrig-weights"


class _Board:
    def __init__(self) -> None:
        self._own: dict[str, WeightUpdate] = {}  # by policy
        self._lent: dict[str, tuple[WeightUpdate, float]] = {}  # newer ones, and the seconds that getting them may take

    def __repr__(self) -> str:
        return "WeightBoard"  # in Ray's dashboard and logs

    def publish(self, update: WeightUpdate, deadline_s: float) -> None:
        self._own[update.manifest.policy] = publish(fetch(update, deadline_s))
        self._lent.pop(update.manifest.policy, None)

    def lend(self, update: WeightUpdate, deadline_s: float) -> None:
        self._lent[update.manifest.policy] = (update, deadline_s)

    def keep(self, policy: str) -> None:
        if policy in self._lent:
            self.publish(*self._lent[policy])

    def latest(self, policy: str) -> WeightUpdate | None:
        self.keep(policy)  # whoever asks may read them when their maker has ended
        return self._own.get(policy)

    def version(self, policy: str) -> int:
        update, _ = self._lent.get(policy, (self._own.get(policy), 0.0))
        return 0 if update is None else update.manifest.version

    def put_back(self, policy: str, update: WeightUpdate | None) -> None:
        self._own.pop(policy, None)
        self._lent.pop(policy, None)
        if update is not None:
            self._own[policy] = update


class WeightBoard:
    """The driver's side of a board. It lives as long as this object's process, or until `close`, on the same node, so
    that it is not lost with another one, and keeps no other from being taken away.

    Attributes:
        name: what `latest_weights` finds it by.
        published: version and digest of the newest weights that this object has published, by policy.
    """

    def __init__(self, deadline_s: float) -> None:
        self.name, self._deadline_s = f"board-{uuid4().hex[:12]}", deadline_s
        self.published: dict[str, tuple[int, str]] = {}
        # A soft one is a hint to Ray: lost with another node, the board would keep every replica from starting.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = {"name": self.name, "namespace": _NAMESPACE, "num_cpus": 0, "scheduling_strategy": here}
        self._actor = ray.remote(_Board).options(**options).remote()

    def publish(self, update: WeightUpdate) -> None:
        """Make these the newest weights of their policy. They stay their maker's until `keep`, or until somebody asks.

        Raises:
            TimeoutError: the board did not have them within the deadline.
        """
        policy, version = update.manifest.policy, update.manifest.version
        _taken(self.name, policy, version, self._actor.lend.remote(update, self._deadline_s), self._deadline_s)
        self.published[policy] = (version, update.manifest.digest)

    def keep(self, policy: str) -> None:
        """Let the board make its own copy of a policy's newest weights, and do not wait for it: `settle` does."""
        self._actor.keep.remote(policy)

    def settle(self) -> None:
        """Return when the newest weights may lose their maker: the board has its own copy of them.

        Raises:
            TimeoutError: it had none within the deadline.
            WeightsLost: their maker has ended already.
        """
        for policy, (version, _) in self.published.items():
            _taken(self.name, policy, version, self._actor.keep.remote(policy), self._deadline_s)

    def newest(self, policy: str) -> ray.ObjectRef:
        """The newest weights of a policy, or None before its first update, without waiting for the answer."""
        return self._actor.latest.remote(policy)

    def close(self) -> None:
        """End the board, and with it what it holds."""
        ray.kill(self._actor)


def publish_weights(board: str, update: WeightUpdate, deadline_s: float) -> None:
    """Make these the newest weights of their policy on the board of this name, in a copy of its own.

    Raises:
        ValueError: there is no such board.
        TimeoutError: it did not have them within twice `deadline_s` seconds.
        WeightsLost: their maker has ended already.
    """
    actor = ray.get_actor(board, namespace=_NAMESPACE)
    manifest = update.manifest
    _taken(board, manifest.policy, manifest.version, actor.publish.remote(update, deadline_s), deadline_s)


def put_back_weights(board: str, policy: str, update: WeightUpdate | None, deadline_s: float) -> None:
    """Make what `latest_weights` said before the newest weights again, because every replica refused those that came
    after; with None, replicas start with the weights on disk.

    Raises:
        ValueError, TimeoutError: see `latest_weights`.
    """
    actor = ray.get_actor(board, namespace=_NAMESPACE)
    _answer(board, actor.put_back.remote(policy, update), deadline_s)


def latest_weights(board: str, policy: str, deadline_s: float) -> WeightUpdate | None:
    """The newest weights of a policy on the board of this name; None before its first update.

    Raises:
        ValueError: there is no such board.
        TimeoutError: it did not answer within `deadline_s` seconds.
    """
    actor = ray.get_actor(board, namespace=_NAMESPACE)
    newest: WeightUpdate | None = _answer(board, actor.latest.remote(policy), deadline_s)
    return newest


def newest_version(board: str, policy: str, deadline_s: float) -> int:
    """The version of what `latest_weights` would say; 0 before a policy's first update.

    Raises:
        ValueError, TimeoutError: see `latest_weights`.
    """
    actor = ray.get_actor(board, namespace=_NAMESPACE)
    version: int = _answer(board, actor.version.remote(policy), deadline_s)
    return version


def newer_weights(board: str, policy: str, version: int, deadline_s: float) -> WeightUpdate | None:
    """What `latest_weights` would say, where it is newer than `version`; None where it is not, or has been put back by
    the time it is asked for.

    Raises:
        ValueError, TimeoutError: see `latest_weights`.
    """
    if newest_version(board, policy, deadline_s) <= version:
        return None
    newest = latest_weights(board, policy, deadline_s)
    return newest if newest is not None and newest.manifest.version > version else None


def _answer(board: str, call: ray.ObjectRef, deadline_s: float) -> Any:
    try:
        return ray.get(call, timeout=deadline_s)
    except ray.exceptions.GetTimeoutError as error:
        raise TimeoutError(f"the board {board} did not answer within {deadline_s} s") from error


def _taken(board: str, policy: str, version: int, call: ray.ObjectRef, deadline_s: float) -> None:
    where = f"weights of policy {policy!r} version {version}: the board {board}"
    try:
        ray.get(call, timeout=2 * deadline_s)
    except ray.exceptions.GetTimeoutError as error:
        raise TimeoutError(f"{where} did not take them within {2 * deadline_s} s") from error
