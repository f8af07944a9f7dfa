import logging
from dataclasses import replace

import pytest
import torch

from weights.holder import WeightHolder
from weights.manifest import WeightMismatch, WeightUpdate, pack
from weights.receipts import WeightReceipt, verify_receipts
from weights.transports.object_store import ObjectStore
from weights.transports.transport import TransferFailed, from_the_object_store


class Holders:
    """Replicas that hold their parameters as the editor's do."""

    def __init__(self, *names: str) -> None:
        self.holders = {
            name: WeightHolder(name, "editor", {"a": torch.zeros(3), "b": torch.zeros(2)}) for name in names
        }

    def apply_weights(self, update: WeightUpdate) -> list[WeightReceipt]:
        return [holder.load(update.manifest, holder.check(update)) for holder in self.holders.values()]


def new_update() -> WeightUpdate:
    return pack("editor", 1, {"a": torch.arange(3.0), "b": torch.ones(2)})


def test_every_replica_holds_what_was_delivered():
    replicas, update = Holders("e0", "e1"), new_update()
    transport = ObjectStore(replicas)
    transport.start()
    receipts = transport.deliver(update)
    verify_receipts(update.manifest, receipts, ["e0", "e1"])
    assert {receipt.transport for receipt in receipts} == {"object_store"}
    transport.close()
    verify_receipts(update.manifest, transport.deliver(update), ["e0", "e1"])  # the same version again is no error


def test_damaged_weights_are_refused_with_replica_policy_and_tensor():
    replicas, update = Holders("e0"), new_update()
    bucket = update.buckets[0].copy()
    bucket[update.manifest.tensors[1].offset] ^= 1
    with pytest.raises(WeightMismatch, match="replica 'e0', policy 'editor' version 1: tensor 'b' has checksum"):
        ObjectStore(replicas).deliver(replace(update, buckets=[bucket]))
    assert replicas.holders["e0"].receipt.version == 0


def test_an_interrupted_transfer_is_told_and_its_replicas_fetch_the_version(caplog):
    replicas, update = Holders("e0"), new_update()
    with caplog.at_level(logging.WARNING):
        receipts = from_the_object_store(replicas, update, TransferFailed("e0 did not come within 5 s"))
    verify_receipts(update.manifest, receipts, ["e0"])
    assert "policy 'editor' version 1 was not delivered" in caplog.text
    assert "e0 did not come within 5 s" in caplog.text
