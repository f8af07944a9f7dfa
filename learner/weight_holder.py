"""The parameters of one policy in one replica: what is checked before they change, and the proof of what they are then.

Checking needs no pause of the replica's work, loading does; that is why they are two calls.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from learner.receipts import WeightReceipt, make_receipt
from learner.weights import Manifest, WeightMismatch, WeightUpdate, unpack


class WeightHolder:
    """Replaces parameters in place.

    Args:
        replica: the name by which receipts know the replica.
        policy: the policy whose weights it takes.
        held: the parameters by name, as the replica uses them; version 0.
    """

    def __init__(self, replica: str, policy: str, held: Mapping[str, torch.Tensor]) -> None:
        self._replica, self._policy, self._held = replica, policy, dict(held)
        self.receipt: WeightReceipt = make_receipt(replica, policy, 0, self._held)

    def check(self, update: WeightUpdate) -> dict[str, torch.Tensor]:
        """The tensors of an update, by every name that the replica holds, aliases included.

        Raises:
            WeightMismatch: the update is for another policy, its bytes are not those of its manifest, or its names,
                shapes or dtypes are not exactly those that are held.
            TimeoutError: the buckets did not arrive.
        """
        manifest = update.manifest
        where = f"replica {self._replica!r}, policy {manifest.policy!r} version {manifest.version}"
        if manifest.policy != self._policy:
            raise WeightMismatch(f"{where}: this replica holds policy {self._policy!r}; send it that policy's weights")
        try:
            sent = dict(unpack(update, own=False))
        except WeightMismatch as error:
            raise WeightMismatch(f"replica {self._replica!r}, {error}") from error
        sent |= {alias: sent[kept] for alias, kept in manifest.aliases if kept in sent}
        if self._held.keys() != sent.keys():
            missing, unknown = sorted(self._held.keys() - sent.keys()), sorted(sent.keys() - self._held.keys())
            raise WeightMismatch(
                f"{where}: {len(missing)} parameters of the replica were not sent {missing[:3]}, {len(unknown)} sent "
                f"ones it does not have {unknown[:3]}; send exactly its state_dict"
            )
        for name, tensor in self._held.items():
            if (tensor.shape, tensor.dtype) != (sent[name].shape, sent[name].dtype):
                raise WeightMismatch(
                    f"{where}: tensor {name!r} is {sent[name].dtype} {tuple(sent[name].shape)}, the replica has "
                    f"{tensor.dtype} {tuple(tensor.shape)}; publish the dtype that the replica was started with"
                )
        return sent

    @torch.no_grad()
    def load(self, manifest: Manifest, sent: Mapping[str, torch.Tensor]) -> WeightReceipt:
        """Copy checked tensors into the parameters; the receipt's digest comes from what these then hold."""
        for name, tensor in self._held.items():
            tensor.copy_(sent[name])
        loaded = {spec.name: self._held[spec.name] for spec in manifest.tensors}
        self.receipt = make_receipt(self._replica, self._policy, manifest.version, loaded, self.receipt)
        return self.receipt
