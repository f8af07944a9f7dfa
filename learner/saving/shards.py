"""Safetensors files that are written a part at a time, named and indexed as transformers and diffusers do it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

_SHARD_BYTES = 2 << 30


class Shards:
    """The weights of one model: `STEM.safetensors`, or `STEM-00001-of-….safetensors` with an index.

    Args:
        folder: where the files go; it is made.
        stem: `model` for transformers, `diffusion_pytorch_model` for diffusers.
        shard_bytes: a file is closed before it grows beyond this.
    """

    def __init__(self, folder: Path, stem: str, shard_bytes: int = _SHARD_BYTES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._stem, self._shard_bytes = folder, stem, shard_bytes
        self._open: dict[str, torch.Tensor] = {}
        self._names: list[list[str]] = []  # of each written file
        self._size = self._total = 0

    def add(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take copies of these tensors; they may change or vanish afterwards."""
        for name, tensor in tensors.items():
            nbytes = tensor.numel() * tensor.element_size()
            if self._open and self._size + nbytes > self._shard_bytes:
                self._write()
            self._open[name] = tensor.detach().cpu().clone().contiguous()
            self._size += nbytes

    def close(self) -> None:
        """Write what is left, and give the files their names.

        Raises:
            ValueError: nothing was added.
        """
        if not self._open:
            raise ValueError(f"{self._folder}: there are no tensors to write")
        self._write()
        if len(self._names) == 1:
            self._path(0).rename(self._folder / f"{self._stem}.safetensors")
            return
        files = [
            f"{self._stem}-{index + 1:05}-of-{len(self._names):05}.safetensors" for index in range(len(self._names))
        ]
        for index, file in enumerate(files):
            self._path(index).rename(self._folder / file)
        weight_map = {name: file for file, names in zip(files, self._names, strict=True) for name in names}
        listing = {"metadata": {"total_size": self._total}, "weight_map": weight_map}
        (self._folder / f"{self._stem}.safetensors.index.json").write_text(json.dumps(listing, indent=2) + "\n")

    def _path(self, index: int) -> Path:
        return self._folder / f"{self._stem}-{index + 1:05}.part"

    def _write(self) -> None:
        save_file(self._open, self._path(len(self._names)), metadata={"format": "pt"})
        self._names.append(list(self._open))
        self._total += self._size
        self._open, self._size = {}, 0


def write_shards(folder: Path | None, stem: str, parts: Iterable[Mapping[str, torch.Tensor]]) -> None:
    """Write tensors as `Shards` does, a part at a time. A call of all ranks: those that give no folder only go through
    the parts, which gathers them."""
    shards = None if folder is None else Shards(folder, stem)
    for part in parts:
        if shards is not None:
            shards.add(part)
    if shards is not None:
        shards.close()
