"""Adapter in, weights out: what an engine that keeps no adapter beside its weights is to load.

The base matrices come from the model folder, so that a replica keeps no second copy of them; they are read again for
each update, from the system's file cache. An engine that merges layers (q, k and v are one parameter in vLLM) loads a
layer only as a whole, so the other tensors of a changed layer are loaded along, as they are.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from learner.adapter import AdapterSpec, check_fit, merge
from learner.receipts import WeightReceipt
from learner.weights import Manifest, WeightMismatch, WeightUpdate, pack, unpack


class AdapterMerger:
    """Adds adapters to the weights of one model.

    Args:
        model: folder, or hub id of a model that has been downloaded (the latter was not run).
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._fits: AdapterSpec | None = None  # hashing the base again for each update would take longer than the rest

    def merged(self, update: WeightUpdate, dtype: torch.dtype) -> WeightUpdate:
        """The update that loads base + adapter: the changed matrices and the rest of their layers, as `dtype`.

        Raises:
            WeightMismatch: damaged bytes, or an adapter that does not fit the model or was trained on other weights.
            TimeoutError: the buckets did not arrive.
        """
        manifest, spec = update.manifest, update.manifest.adapter
        where = f"policy {manifest.policy!r} version {manifest.version}, model {self._model}"
        tensors = dict(unpack(update))
        with ExitStack() as opened:
            files = self._open(opened)
            if missing := [target.weight for target in spec.targets if target.weight not in files]:
                raise WeightMismatch(f"{where}: the model has no tensor {missing[0]!r}")
            if spec != self._fits:
                weights = ((target, files[target.weight].get_tensor(target.weight)) for target in spec.targets)
                check_fit(where, spec, tensors, weights)
                self._fits = spec
            targets = {target.weight: target for target in spec.targets}
            blocks = {_block(name) for name in targets}
            loaded = {}
            for name in sorted(name for name in files if _block(name) in blocks):
                weight = files[name].get_tensor(name)
                changed = merge(spec, targets[name], weight, tensors) if name in targets else weight
                loaded[name] = changed.to(dtype)
        return pack(manifest.policy, manifest.version, loaded)

    def _open(self, opened: ExitStack) -> dict[str, Any]:
        """The open file of each tensor."""
        folder = Path(self._model)
        if not folder.is_dir():
            from huggingface_hub import snapshot_download

            folder = Path(snapshot_download(self._model, local_files_only=True))
        files = {}
        for path in sorted(folder.glob("*.safetensors")):
            file = opened.enter_context(safe_open(path, framework="pt"))
            files |= dict.fromkeys(file.keys(), file)
        return files


def adapter_receipt(sent: Manifest, loaded: WeightReceipt, before: WeightReceipt | None) -> WeightReceipt:
    """The receipt of an adapter, from the one of the weights that were loaded for it and the replica's last one."""
    return replace(
        loaded,
        digest=sent.digest,
        checksums=sent.checksums,
        previous_digest=before.digest if before is not None and before.merged is not None else None,
        base=sent.adapter.base,
        merged=loaded.digest,
        previous_merged=loaded.previous_digest,
    )


def _block(name: str) -> str:
    """What a tensor's layer lies in: `…attn` for `…attn.q_proj.weight`."""
    return name.rpartition(".")[0].rpartition(".")[0]
