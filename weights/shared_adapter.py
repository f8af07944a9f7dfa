"""An adapter that one process trains and samples with: nothing is sent to it, and what it holds is proven as ever."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from weights.adapter import check_fit
from weights.adapter_spec import AdapterSpec, Target
from weights.checksums import tensor_checksums
from weights.lora import adapted_layers, adapter_tensors
from weights.manifest import Manifest, WeightMismatch
from weights.receipts import WeightReceipt, receipt_of


class SharedAdapter:
    """The adapter in a model that trains, as the one who samples with the same model sees it.

    Args:
        module: a diffusers or transformers model with the adapter in it.
        before: what the process held so far.

    Attributes:
        receipt: of the version that was confirmed last; before the first, `before`.
    """

    def __init__(self, module: Any, before: WeightReceipt) -> None:
        self._module, self.receipt = module, before
        self._proven: AdapterSpec | None = None  # the base never changes, so that it is read once

    @torch.no_grad()
    def confirm(self, manifest: Manifest) -> WeightReceipt:
        """A receipt for the adapter that the model computes with now, from its own tensors and those of its layers.

        Raises:
            WeightMismatch: the manifest is of another policy or of all weights, or the model has another adapter, or on
                other weights.
        """
        before = self.receipt
        where = f"replica {before.replica!r}, policy {manifest.policy!r} version {manifest.version}"
        if manifest.policy != before.policy:
            raise WeightMismatch(f"{where}: this replica trains policy {before.policy!r}; confirm that one's weights")
        if manifest.adapter is None:
            raise WeightMismatch(f"{where}: these are all weights, and the replica trains an adapter")
        held = adapter_tensors(self._module)
        if self._proven != manifest.adapter:
            check_fit(where, manifest.adapter, held, self._bases(where, manifest.adapter))
        checksums = tensor_checksums(held)
        for tensor in manifest.tensors:
            tensor.expect(checksums.get(tensor.name, "none"), where)
        self._proven = manifest.adapter
        receipt = receipt_of(before.replica, before.policy, manifest.version, checksums, before)
        self.receipt = replace(receipt, base=manifest.adapter.base, transport="shared")
        return self.receipt

    def _bases(self, where: str, spec: AdapterSpec) -> Iterator[tuple[Target, torch.Tensor]]:
        layers = adapted_layers(self._module)
        for target in spec.targets:
            if target.module not in layers:
                raise WeightMismatch(f"{where}: the replica's model has no adapter in layer {target.module!r}")
            yield target, layers[target.module].get_base_layer().weight
