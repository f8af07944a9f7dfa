"""The newest weights of every policy, for replicas that start after the last update: a Ray actor with a name.

The board owns its buckets, so that they outlive the learner that made them.
"""

from __future__ import annotations

from uuid import uuid4

import ray

from learner.weights import WeightUpdate, fetch, publish

_NAMESPACE = "rlrig-weights"


class _Board:
    def __init__(self) -> None:
        self._latest: dict[str, WeightUpdate] = {}

    def __repr__(self) -> str:
        return "WeightBoard"  # in Ray's dashboard and logs

    def publish(self, update: WeightUpdate, deadline_s: float) -> None:
        self._latest[update.manifest.policy] = publish(fetch(update, deadline_s))

    def latest(self, policy: str) -> WeightUpdate | None:
        return self._latest.get(policy)


class WeightBoard:
    """The driver's side of a board. It lives as long as this object's process, or until `close`.

    Attributes:
        name: what `latest_weights` finds it by.
    """

    def __init__(self, deadline_s: float) -> None:
        self.name, self._deadline_s = f"board-{uuid4().hex[:12]}", deadline_s
        options = {"name": self.name, "namespace": _NAMESPACE, "num_cpus": 0}
        self._actor = ray.remote(_Board).options(**options).remote()

    def publish(self, update: WeightUpdate) -> None:
        """Make these the newest weights of their policy.

        Raises:
            TimeoutError: the board did not have them within the deadline.
        """
        try:
            ray.get(self._actor.publish.remote(update, self._deadline_s), timeout=2 * self._deadline_s)
        except ray.exceptions.GetTimeoutError as error:
            raise TimeoutError(
                f"weights of policy {update.manifest.policy!r} version {update.manifest.version}: the board "
                f"{self.name} did not take them within {2 * self._deadline_s} s"
            ) from error

    def close(self) -> None:
        """End the board, and with it what it holds."""
        ray.kill(self._actor)


def latest_weights(board: str, policy: str, deadline_s: float) -> WeightUpdate | None:
    """The newest weights of a policy on the board of this name; None before its first update.

    Raises:
        ValueError: there is no such board.
        TimeoutError: it did not answer within `deadline_s` seconds.
    """
    actor = ray.get_actor(board, namespace=_NAMESPACE)
    try:
        return ray.get(actor.latest.remote(policy), timeout=deadline_s)
    except ray.exceptions.GetTimeoutError as error:
        raise TimeoutError(f"the board {board} did not answer within {deadline_s} s") from error
