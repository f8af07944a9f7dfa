"""The parameters of one policy in one replica: what is checked before they change, and the proof of what they are then.

Checking needs no pause of the replica's work; loading does, and on a CPU only changes which memory is used: the
parameters are then the bytes that were received, where they lie. In the object store all replicas of a node share them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from weights.manifest import Manifest, WeightMismatch, WeightUpdate, check_bytes, received, tensors_in
from weights.receipts import WeightReceipt, make_receipt, receipt_of


class WeightHolder:
    """Replaces parameters, which nobody must write to: on a CPU they are the memory of the update that was loaded last,
    which is kept for as long as they are used.

    Args:
        replica: the name by which receipts know the replica.
        policy: the policy whose weights it takes.
        held: the parameters by name, as the replica uses them, no detached aliases of them; version 0.
    """

    def __init__(self, replica: str, policy: str, held: Mapping[str, torch.Tensor]) -> None:
        self._replica, self._policy, self._held = replica, policy, dict(held)
        self._on_cpu = all(tensor.device.type == "cpu" for tensor in self._held.values())
        self.receipt: WeightReceipt = make_receipt(replica, policy, 0, self._held)

    def check(self, update: WeightUpdate) -> dict[str, torch.Tensor]:
        """The checked tensors of an update, by every name that the replica holds, aliases included.

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
            contents = received(update)
            sent = tensors_in(manifest, contents)
        except WeightMismatch as error:
            raise WeightMismatch(f"replica {self._replica!r}, {error}") from error
        self._check_fit(where, manifest, sent)
        check_bytes(manifest, contents, where)
        return sent | {alias: sent[kept] for alias, kept in manifest.aliases}

    def _check_fit(self, where: str, manifest: Manifest, sent: Mapping[str, torch.Tensor]) -> None:
        named = {**sent, **{alias: sent[kept] for alias, kept in manifest.aliases if kept in sent}}
        if self._held.keys() != named.keys():
            missing, unknown = sorted(self._held.keys() - named.keys()), sorted(named.keys() - self._held.keys())
            raise WeightMismatch(
                f"{where}: {len(missing)} parameters of the replica were not sent {missing[:3]}, {len(unknown)} sent "
                f"ones it does not have {unknown[:3]}; send exactly its state_dict"
            )
        for name, tensor in self._held.items():
            if (tensor.shape, tensor.dtype) != (named[name].shape, named[name].dtype):
                raise WeightMismatch(
                    f"{where}: tensor {name!r} is {named[name].dtype} {tuple(named[name].shape)}, the replica has "
                    f"{tensor.dtype} {tuple(tensor.shape)}; publish the dtype that the replica was started with"
                )

    @torch.no_grad()
    def load(self, manifest: Manifest, sent: Mapping[str, torch.Tensor]) -> WeightReceipt:
        """Let the parameters be the checked tensors; the receipt's digest is that of what they then hold."""
        before = self.receipt
        if self._on_cpu:
            for name, tensor in self._held.items():
                tensor.data = sent[name]
            moved = {name for name, tensor in self._held.items() if tensor.data_ptr() != sent[name].data_ptr()}
            if moved:
                raise WeightMismatch(f"replica {self._replica!r}: {sorted(moved)[:3]} do not hold what was loaded")
            self.receipt = receipt_of(self._replica, self._policy, manifest.version, manifest.checksums, before)
            return self.receipt
        for name, tensor in self._held.items():
            tensor.copy_(sent[name])
        loaded = {spec.name: self._held[spec.name] for spec in manifest.tensors}
        self.receipt = make_receipt(self._replica, self._policy, manifest.version, loaded, before)
        return self.receipt
