"""The adapter of one policy in one replica that computes with it beside the weights, as the learner does.

The base weights stay as they are, so that nothing is kept twice, no rounding adds up over many updates, and
log-probabilities are those of the learner to the last bit where both run on the same kind of machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from weights.adapter import check_fit
from weights.adapter_spec import AdapterSpec, Target
from weights.holder import WeightHolder
from weights.lora import adapter_tensors, add_received
from weights.manifest import Manifest, WeightMismatch, WeightUpdate, unpack
from weights.receipts import WeightReceipt


class AdapterHolder:
    """Puts an adapter into a model with the first update, and replaces its tensors in place with those that follow.

    Args:
        module: a diffusers or transformers model.
        before: what the replica held so far.
    """

    def __init__(self, module: Any, before: WeightReceipt) -> None:
        self._module = module
        self._spec: AdapterSpec | None = None
        self._held: WeightHolder | None = None
        self.receipt = before

    def check(self, update: WeightUpdate) -> dict[str, torch.Tensor]:
        """The tensors of an update.

        Raises:
            WeightMismatch: the update is for another policy, its bytes are not those of its manifest, its tensors do
                not fit the model's layers, it was trained on other weights, or it adapts others than the one before.
            TimeoutError: the buckets did not arrive.
        """
        manifest, receipt = update.manifest, self.receipt
        where = f"replica {receipt.replica!r}, policy {manifest.policy!r} version {manifest.version}"
        if manifest.policy != receipt.policy:
            raise WeightMismatch(
                f"{where}: this replica holds policy {receipt.policy!r}; send it that policy's weights"
            )
        if self._held is not None:
            if manifest.adapter != self._spec:
                raise WeightMismatch(
                    f"{where}: its rank, alpha, layers or base weights are not those of version {receipt.version}; "
                    "start the replica again"
                )
            return self._held.check(update)
        assert manifest.adapter is not None, f"{where}: these are all weights, no adapter"
        sent = dict(unpack(update))
        check_fit(where, manifest.adapter, sent, self._weights(where, manifest.adapter))
        return sent

    def load(self, manifest: Manifest, sent: Mapping[str, torch.Tensor]) -> WeightReceipt:
        """Let the model compute with checked tensors; the receipt's digest comes from what its adapter then holds."""
        spec = manifest.adapter
        assert spec is not None, "`check` takes nothing else"
        if self._held is None:
            add_received(self._module, spec)
            self._spec = spec
            self._held = WeightHolder(self.receipt.replica, self.receipt.policy, adapter_tensors(self._module))
            self._held.receipt = self.receipt
        self.receipt = replace(self._held.load(manifest, sent), base=spec.base)
        return self.receipt

    def _weights(self, where: str, spec: AdapterSpec) -> Iterator[tuple[Target, torch.Tensor]]:
        for target in spec.targets:
            try:
                yield target, self._module.get_submodule(target.module).weight
            except AttributeError as error:
                raise WeightMismatch(f"{where}: the replica's model has no layer {target.module!r}") from error
