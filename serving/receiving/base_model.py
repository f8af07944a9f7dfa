"""The matrices of a replica's model folder, to which an adapter belongs; they are read when they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from weights.adapter import check_fit
from weights.adapter_spec import AdapterSpec
from weights.manifest import WeightMismatch


class BaseModel:
    """What adapters of one model are added to.

    Args:
        model: folder, or hub id of a model that has been downloaded (the latter was not run).
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._fits: AdapterSpec | None = None  # hashing the matrices for each update would take longer than the rest

    @contextmanager
    def opened(self) -> Iterator[dict[str, Any]]:
        """The open file of each tensor."""
        folder = Path(self._model)
        if not folder.is_dir():
            from huggingface_hub import snapshot_download

            folder = Path(snapshot_download(self._model, local_files_only=True))
        files: dict[str, Any] = {}
        with ExitStack() as opened:
            for path in sorted(folder.glob("*.safetensors")):
                file = opened.enter_context(safe_open(path, framework="pt"))
                files |= dict.fromkeys(file.keys(), file)
            yield files

    def check(
        self, where: str, spec: AdapterSpec, tensors: Mapping[str, torch.Tensor], files: Mapping[str, Any]
    ) -> None:
        """Refuse an adapter of another model.

        Args:
            where: the beginning of an error's message.
            spec, tensors: the adapter.
            files: of `opened`.

        Raises:
            WeightMismatch: it does not fit the model, or was trained on other weights.
        """
        where = f"{where}, model {self._model}"
        if missing := [target.weight for target in spec.targets if target.weight not in files]:
            raise WeightMismatch(f"{where}: the model has no tensor {missing[0]!r}")
        if spec != self._fits:
            weights = ((target, files[target.weight].get_tensor(target.weight)) for target in spec.targets)
            check_fit(where, spec, tensors, weights)
            self._fits = spec
