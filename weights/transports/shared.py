"""No transport at all: the replicas are the learner's own ranks, and hold a version as soon as it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from weights.manifest import Manifest, WeightUpdate
from weights.receipts import WeightReceipt


class Ranks(Protocol):
    """Processes that train and sample with one adapter: an `actors.fleet.Fleet` of them."""

    def confirm_weights(self, manifest: Manifest) -> list[WeightReceipt]:
        """One receipt from each, for what it holds."""


@dataclass(frozen=True)
class Shared:
    """The manifest alone goes to the replicas; each compares it with what it samples with, and answers as always."""

    ranks: Ranks

    def start(self) -> None:
        """Nothing to start."""

    def deliver(self, update: WeightUpdate) -> list[WeightReceipt]:
        """See `Transport`.

        Raises:
            WeightMismatch: a replica samples with something else than the learner has trained.
            LearnerFailed: a replica was started again, and trains no more.
            FleetError: a replica did not answer, and was not replaced.
        """
        return self.ranks.confirm_weights(update.manifest)

    def close(self) -> None:
        """Nothing to end."""
