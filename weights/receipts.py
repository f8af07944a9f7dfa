"""What replicas answer to new weights, and the check of these answers against what was sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from weights.checksums import checksums_digest, tensor_checksums
from weights.manifest import Manifest, WeightMismatch


@dataclass(frozen=True)
class WeightReceipt:
    """What a replica holds after an update, and what it held before.

    `previous_digest` is None for a replica that held nothing; `previous_version` is None where it is not known.
    `checksums` (tensor name → checksum of the loaded parameter) are optional; with them an error names the tensor.
    `probe` is a digest of the replica's answer to one fixed question, with these weights and with those before.
    With an adapter, `digest` is the adapter's and `base` that of the matrices that it is added to. A replica that holds
    their sum says with `merged` which weights came out, and before, and with `surviving` which share of the adapter's
    change its number format left; None where it computes with both apart.
    `transport` is the one that brought the weights.
    """

    replica: str
    policy: str
    version: int
    digest: str
    previous_digest: str | None
    previous_version: int | None = None
    checksums: Mapping[str, str] | None = None
    probe: str | None = None
    previous_probe: str | None = None
    base: str | None = None
    merged: str | None = None
    previous_merged: str | None = None
    surviving: float | None = None
    transport: str = "object_store"


def make_receipt(
    replica: str,
    policy: str,
    version: int,
    loaded: Mapping[str, torch.Tensor],
    previous: WeightReceipt | None = None,
) -> WeightReceipt:
    """A receipt for the parameters that a replica holds now, under the manifest's names."""
    return receipt_of(replica, policy, version, tensor_checksums(loaded), previous)


def receipt_of(
    replica: str, policy: str, version: int, checksums: Mapping[str, str], previous: WeightReceipt | None = None
) -> WeightReceipt:
    """A receipt for parameters with these checksums, under the manifest's names."""
    before: tuple[str | None, int | None] = (previous.digest, previous.version) if previous else (None, None)
    return WeightReceipt(replica, policy, version, checksums_digest(checksums), *before, checksums)


def verify_receipts(
    manifest: Manifest, receipts: Iterable[WeightReceipt], replicas: Iterable[str] | None = None
) -> None:
    """Check that every replica holds exactly the manifest's weights, and that they are new to it.

    Args:
        manifest: what the learner sent.
        receipts: one from each replica.
        replicas: the names of all replicas that must have answered; None accepts any set that is not empty.

    Raises:
        WeightMismatch: a replica is missing, answers twice, holds other weights, another policy or version, holds the
            same weights as before although its version moved, answers its probe as before, or has added an adapter to
            other weights than those it was trained on, or without an effect.
    """
    where = f"policy {manifest.policy!r} version {manifest.version}"
    received = list(receipts)
    names = [receipt.replica for receipt in received]
    if not received:
        raise WeightMismatch(f"{where}: no replica has answered; nothing proves that the weights arrived")
    if len(set(names)) != len(names):
        raise WeightMismatch(f"{where}: a replica has answered twice: {sorted(names)}")
    if replicas is not None and set(names) != set(replicas):
        absent, unknown = sorted(set(replicas) - set(names)), sorted(set(names) - set(replicas))
        raise WeightMismatch(f"{where}: replicas without an answer: {absent}; answers of unknown replicas: {unknown}")
    for receipt in received:
        replica = f"replica {receipt.replica!r}, {where}"
        if (receipt.policy, receipt.version) != (manifest.policy, manifest.version):
            raise WeightMismatch(f"{replica}: it holds policy {receipt.policy!r} version {receipt.version}")
        if receipt.digest != manifest.digest:
            raise WeightMismatch(
                f"{replica}: its weights have digest {receipt.digest}, sent was {manifest.digest}; "
                f"{_difference(manifest.checksums, receipt.checksums)}"
            )
        if receipt.digest == receipt.previous_digest and receipt.version != receipt.previous_version:
            raise WeightMismatch(
                f"{replica}: its weights are the same as before (version {receipt.previous_version}, digest "
                f"{receipt.digest}), so the update changed nothing"
            )
        base = None if manifest.adapter is None else manifest.adapter.base
        if receipt.base != base:
            raise WeightMismatch(
                f"{replica}: it added the adapter to weights with digest {receipt.base}, the learner's have {base}; "
                "give both the same model folder"
            )
        moved = receipt.digest != receipt.previous_digest
        if moved and receipt.merged is not None and receipt.merged == receipt.previous_merged:
            raise WeightMismatch(
                f"{replica}: its weights with the new adapter are to the last bit those that it had before (digest "
                f"{receipt.merged}); its number format is too coarse for the change"
            )
        if moved and receipt.probe is not None and receipt.probe == receipt.previous_probe:
            raise WeightMismatch(
                f"{replica}: it holds the weights, but answers a fixed question to the last bit as with version "
                f"{receipt.previous_version}, so it does not use them"
            )


def _difference(sent: Mapping[str, str], held: Mapping[str, str] | None) -> str:
    if held is None:
        return "the receipt does not list tensors"
    different = sorted(name for name in sent.keys() & held.keys() if sent[name] != held[name])
    missing, added = sorted(sent.keys() - held.keys()), sorted(held.keys() - sent.keys())
    parts = (("tensors that differ", different), ("missing", missing), ("not in the manifest", added))
    return "; ".join(f"{what}: {', '.join(names[:3])} ({len(names)})" for what, names in parts if names)
