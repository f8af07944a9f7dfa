"""What brings a version of a policy's weights from the learner to all replicas of that policy.

Each transport is a file of this package: `object_store` (default), `group` (torch.distributed: `nccl`, `gloo`) for the
editor's replicas, `vllm_transfer` (vLLM's own `nccl` and `ipc`) for the Actor's. Whatever brings the bytes, the
manifest travels by Ray, and a replica that starts late gets its weights from the `WeightBoard`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from weights.manifest import WeightUpdate
from weights.receipts import WeightReceipt
from weights.transports.exchange import Address, Step


class TransportUnusable(ValueError):
    """The chosen transport cannot reach the replicas: the message names the setting, its value and a remedy."""


class TransferFailed(RuntimeError):
    """A transfer ended before every replica had the weights: the message names replica, policy and version."""


class Replicas(Protocol):
    """All replicas of one policy: an `actors.fleet.Fleet` of editors, or a `serving.client.VlmClient`."""

    def apply_weights(self, update: WeightUpdate) -> list[WeightReceipt]:
        """Let each replica fetch the update from the object store, and replace those that are lost meanwhile."""


class Workers(Replicas, Protocol):
    """Replicas that are Ray actors, each with a `receive_weights` method: an `actors.fleet.Fleet`."""

    @property
    def names(self) -> Sequence[str]:
        """Of the replicas, in a fixed order."""

    @property
    def handles(self) -> Mapping[str, Any]:
        """The Ray actors by name."""


class Deadlines(Protocol):
    """Seconds that replicas behind Ray Serve may take."""

    @property
    def call_deadline_s(self) -> float:
        """For one call."""

    @property
    def start_deadline_s(self) -> float:
        """Until a replica is there."""


class Served(Replicas, Protocol):
    """Replicas behind Ray Serve that take part in a transfer step by step: a `serving.client.VlmClient`."""

    @property
    def settings(self) -> Deadlines:
        """How long to wait for them."""

    def addresses(self) -> list[Address]:
        """Where a sender of weights finds the replicas, by name."""

    def transfer(self, step: Step, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """One step of an update, on the replicas that `arguments` names: answers by name. Raises what the step raised,
        or that a replica was lost or late."""


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
