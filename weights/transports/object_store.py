"""Ray's object store: every node fetches the buckets once, every replica reads them in place."""

from __future__ import annotations

from dataclasses import dataclass

from weights.manifest import WeightUpdate
from weights.receipts import WeightReceipt
from weights.transports.transport import Replicas


@dataclass(frozen=True)
class ObjectStore:
    """The transport that needs nothing: `weights.manifest.publish` has put the buckets where replicas fetch them."""

    replicas: Replicas

    def start(self) -> None:
        """Nothing to start."""

    def deliver(self, update: WeightUpdate) -> list[WeightReceipt]:
        """See `Transport`. A replica that is lost meanwhile is replaced.

        Raises:
            WeightMismatch: a replica refuses the weights.
            TimeoutError, FleetError, VlmError: a replica did not answer, and was not replaced.
        """
        return self.replicas.apply_weights(update)

    def close(self) -> None:
        """Nothing to end."""
