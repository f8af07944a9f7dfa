"""Adapter in, weights out: what an engine that keeps no adapter beside its weights is to load.

The base matrices come from the model folder, so that a replica keeps no second copy of them; they are read again for
each update, from the system's file cache. An engine that merges layers (q, k and v are one parameter in vLLM) loads a
layer only as a whole, so the other tensors of a changed layer are loaded along, as they are.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from serving.receiving.base_model import BaseModel
from weights.adapter import LEAST_SURVIVING, Survival, change, merge
from weights.manifest import Manifest, WeightMismatch, WeightUpdate, pack, unpack
from weights.receipts import WeightReceipt


class AdapterMerger:
    """Adds adapters to the weights of one model.

    Attributes:
        surviving: the share of the last adapter's change that was left in the weights' number format, see `Survival`.
    """

    def __init__(self, base: BaseModel) -> None:
        self._base = base
        self.surviving = 1.0

    def merged(self, update: WeightUpdate, dtype: torch.dtype) -> WeightUpdate:
        """The update that loads base + adapter: the changed matrices and the rest of their layers, as `dtype`.

        Raises:
            WeightMismatch: damaged bytes, an adapter that does not fit the model or was trained on other weights, or a
                number format that leaves less than 90 % of the change.
            TimeoutError: the buckets did not arrive.
        """
        manifest, spec = update.manifest, update.manifest.adapter
        where = f"policy {manifest.policy!r} version {manifest.version}"
        assert spec is not None, f"{where}: these are all weights, no adapter"
        tensors = dict(unpack(update))
        survival = Survival()
        with self._base.opened() as files:
            self._base.check(where, spec, tensors, files)
            targets = {target.weight: target for target in spec.targets}
            blocks = {_block(name) for name in targets}
            loaded = {}
            for name in sorted(name for name in files if _block(name) in blocks):
                weight = files[name].get_tensor(name)
                if name in targets:
                    loaded[name] = merge(spec, targets[name], weight, tensors).to(dtype)
                    survival.add(weight.to(dtype), change(spec, targets[name], tensors), loaded[name])
                else:
                    loaded[name] = weight.to(dtype)
        self.surviving = survival.share
        if self.surviving < LEAST_SURVIVING:
            raise WeightMismatch(
                f"{where}: {self.surviving:.0%} of the adapter's change survives in weights of {dtype}; set "
                "vlm.actor.adapter=beside, which adds nothing up, or vlm.actor.dtype=float32"
            )
        return pack(manifest.policy, manifest.version, loaded)


def adapter_receipt(
    sent: Manifest, loaded: WeightReceipt, before: WeightReceipt | None, surviving: float
) -> WeightReceipt:
    """The receipt of an adapter, from the one of the weights that were loaded for it and the replica's last one."""
    assert sent.adapter is not None, "`AdapterMerger.merged` takes nothing else"
    return replace(
        loaded,
        digest=sent.digest,
        checksums=sent.checksums,
        previous_digest=before.digest if before is not None and before.merged is not None else None,
        base=sent.adapter.base,
        merged=loaded.digest,
        previous_merged=loaded.previous_digest,
        surviving=surviving,
    )


def _block(name: str) -> str:
    """What a tensor's layer lies in: `…attn` for `…attn.q_proj.weight`."""
    return name.rpartition(".")[0].rpartition(".")[0]
