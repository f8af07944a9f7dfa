"""What a person reads of a version that was sent and received."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weights.manifest import WeightUpdate
    from weights.receipts import WeightReceipt


def describe_weights(update: WeightUpdate, receipts: Sequence[WeightReceipt]) -> dict[str, Any]:
    """What was sent, and what every replica held before and holds now, and how that came to it."""
    return {
        "policy": update.manifest.policy,
        "version": update.manifest.version,
        "kind": update.kind,
        "tensors": len(update.manifest.tensors),
        "bytes": update.nbytes,
        "digest": update.manifest.digest,
        "replicas": {
            r.replica: {
                "digest": r.digest,
                "previous": r.previous_digest,
                "transport": r.transport,
                **({} if r.surviving is None else {"surviving": r.surviving}),
            }
            for r in receipts
        },
    }
