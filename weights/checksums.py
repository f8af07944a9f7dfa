"""Checksums of tensors, which find damage and prove what is held. They need not withstand an attacker, and keep up with
the memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
import xxhash

_Content = TypeVar("_Content")


def tensor_checksum(tensor: torch.Tensor) -> str:
    """128-bit XXH3 of dtype, shape and contiguous bytes, in hex. Equal bits give equal checksums on any device."""
    return bytes_checksum(dtype_name(tensor.dtype), tuple(tensor.shape), bytes_of(tensor))


def tensor_checksums(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """`tensor_checksum` of each tensor, by name, in little more than half the time."""
    return dict(zip(tensors, _by_two(tensor_checksum, list(tensors.values())), strict=True))


def bytes_checksum(dtype: str, shape: tuple[int, ...], raw: np.ndarray | torch.Tensor) -> str:
    """`tensor_checksum` of the tensor whose bytes (uint8) are `raw`."""
    hasher = xxhash.xxh3_128(f"{dtype}{shape}".encode())
    hasher.update((raw if isinstance(raw, np.ndarray) else bytes_of(raw)).data)
    return hasher.hexdigest()


def bytes_checksums(contents: Sequence[tuple[str, tuple[int, ...], np.ndarray | torch.Tensor]]) -> list[str]:
    """`bytes_checksum` of each (dtype, shape, bytes), in little more than half the time."""
    return _by_two(lambda content: bytes_checksum(*content), contents)


def checksums_digest(checksums: Mapping[str, str]) -> str:
    """One hash of name → checksum that does not depend on the order."""
    hasher = hashlib.blake2b(digest_size=16)
    for name in sorted(checksums):
        hasher.update(f"{name}={checksums[name]}\n".encode())
    return hasher.hexdigest()


def tensors_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """The digest of these tensors, comparable with `Manifest.digest`; give it the manifest's names only."""
    return checksums_digest(tensor_checksums(tensors))


def bytes_of(tensor: torch.Tensor) -> np.ndarray:
    """The tensor's contiguous bytes, uint8; where it is contiguous on the CPU, its own memory."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


def dtype_name(dtype: torch.dtype) -> str:
    """As `float32`."""
    return str(dtype).removeprefix("torch.")


def _by_two(checksum: Callable[[_Content], str], contents: Sequence[_Content]) -> list[str]:
    """Each of two threads goes through a share of its own: to hand them over one by one would take longer."""
    found = [""] * len(contents)
    with ThreadPoolExecutor(1) as beside:
        rest = beside.submit(lambda: [checksum(content) for content in contents[1::2]])
        found[0::2] = [checksum(content) for content in contents[0::2]]
        found[1::2] = rest.result()
    return found
