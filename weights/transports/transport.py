"""What brings a version of a policy's weights from the learner to all replicas of that policy.

Each transport is a file of this package: `object_store` (default), `group` (torch.distributed: `nccl`, `gloo`) for the
editor's replicas, `vllm_transfer` (vLLM's own `nccl` and `ipc`) for the Actor's. Whatever brings the bytes, the
manifest travels by Ray, and a replica that starts late gets its weights from the `WeightBoard`.
"""

from __future__ import annotations

import logging
from typing import Protocol

from learner.receipts import WeightReceipt
from learner.weights import WeightUpdate


class TransportUnusable(ValueError):
    """The chosen transport cannot reach the replicas: the message names the setting, its value and a remedy."""


class TransferFailed(RuntimeError):
    """A transfer ended before every replica had the weights: the message names replica, policy and version."""


class Replicas(Protocol):
    """All replicas of one policy: an `actors.fleet.Fleet` of editors, or a `serving.vlm_client.VlmClient`."""

    def apply_weights(self, update: WeightUpdate) -> list[WeightReceipt]:
        """Let each replica fetch the update from the object store, and replace those that are lost meanwhile."""


class Transport(Protocol):
    """Brings versions to all replicas of one policy. It can be pickled; only the driver's delivers."""

    def start(self) -> None:
        """Start what sends, so that what cannot work is known before anything is trained.

        Raises:
            TransportUnusable: it cannot reach the replicas.
        """

    def deliver(self, update: WeightUpdate) -> list[WeightReceipt]:
        """Bring an update, whose buckets are in the object store, to every replica: one receipt from each.

        Raises:
            WeightMismatch: a replica refuses it.
            Exception: the replicas did not take it from the object store either.
        """

    def close(self) -> None:
        """End what `start` started."""


def from_the_object_store(replicas: Replicas, update: WeightUpdate, reason: Exception) -> list[WeightReceipt]:
    """What a transport does when its transfer ended for another reason than the weights: a process was lost, or a
    deadline passed. The replicas then take the version as late ones do."""
    manifest = update.manifest
    logging.getLogger(__name__).warning(
        "policy %r version %d was not delivered, so its replicas fetch it from the object store: %s",
        manifest.policy, manifest.version, reason,
    )  # fmt: skip
    return replicas.apply_weights(update)
