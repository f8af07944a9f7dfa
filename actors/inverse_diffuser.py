"""The Inverse Diffuser: the image editor that is trained. `ray.remote(InverseDiffuser)` makes it a Ray actor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from actors.edit import Edit
from actors.flow_path import FlowSde
from actors.flux_model import FluxModel
from actors.replica import Replica
from learner.weights import Manifest, WeightMismatch, WeightReceipt, WeightUpdate, make_receipt, unpack

POLICY = "editor"


class InverseDiffuser(Replica):
    """Edits batches of images, and takes new weights.

    It starts with the weights on disk as version 0, also when Ray restarts it after a crash: whoever restarts it gives
    it the current weights before its next edit. Every edit says with which version it was made.

    Args:
        path: pipeline folder, or hub id.
        replica: the name by which receipts know this replica.
        threads: CPU threads of torch.
        settings: everything else that FluxModel takes.

    Raises:
        ModelLoadError, ValueError: as FluxModel.
    """

    def __init__(
        self, path: str | Path, replica: str = "inverse-diffuser-0", threads: int = 1, **settings: Any
    ) -> None:
        torch.set_num_threads(threads)
        self.replica = replica
        self.model = FluxModel(path, **settings)
        self._receipt = make_receipt(replica, POLICY, 0, self.model.transformer.state_dict())

    def version(self) -> int:
        """Version of the weights in use; 0 is the model as it lies on disk."""
        return self._receipt.version

    def edit(
        self,
        images: Sequence[np.ndarray],
        prompts: Sequence[str],
        seeds: Sequence[int],
        sde: FlowSde | None = None,
        steps: int | None = None,
    ) -> list[Edit]:
        """One edit for each image, marked with the version; see FluxModel.edit."""
        return [replace(e, version=self.version()) for e in self.model.edit(images, prompts, seeds, sde, steps)]

    def apply_weights(self, update: WeightUpdate) -> WeightReceipt:
        """Replace all weights of the transformer. The receipt's digest comes from the parameters that it then holds.

        Everything is checked before the first parameter changes, so after an error the replica goes on with the
        weights it had.

        Raises:
            WeightMismatch: the update is for another policy, its bytes are not those of its manifest, or its names,
                shapes or dtypes are not exactly the transformer's.
            TimeoutError: the buckets did not arrive.
        """
        manifest, transformer = update.manifest, self.model.transformer
        held = transformer.state_dict()
        tensors = dict(unpack(update))
        tensors |= {alias: tensors[kept] for alias, kept in manifest.aliases if kept in tensors}
        self._check(manifest, held, tensors)
        transformer.load_state_dict(tensors, strict=True)
        loaded = {spec.name: held[spec.name] for spec in manifest.tensors}
        self._receipt = make_receipt(self.replica, POLICY, manifest.version, loaded, self._receipt)
        return self._receipt

    def _check(self, manifest: Manifest, held: dict[str, torch.Tensor], sent: dict[str, torch.Tensor]) -> None:
        where = f"replica {self.replica!r}, policy {manifest.policy!r} version {manifest.version}"
        if manifest.policy != POLICY:
            raise WeightMismatch(f"{where}: this replica holds policy {POLICY!r}; send it that policy's weights")
        if held.keys() != sent.keys():
            missing, unknown = sorted(held.keys() - sent.keys()), sorted(sent.keys() - held.keys())
            raise WeightMismatch(
                f"{where}: {len(missing)} parameters of the transformer were not sent {missing[:3]}, "
                f"{len(unknown)} sent ones it does not have {unknown[:3]}; send exactly its state_dict"
            )
        for name, tensor in held.items():
            if (tensor.shape, tensor.dtype) != (sent[name].shape, sent[name].dtype):
                raise WeightMismatch(
                    f"{where}: tensor {name!r} is {sent[name].dtype} {tuple(sent[name].shape)}, the transformer has "
                    f"{tensor.dtype} {tuple(tensor.shape)}; publish the dtype that the replica was started with"
                )
