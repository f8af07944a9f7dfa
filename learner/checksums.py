"""Checksums of tensors, which find damage and prove what is held. They need not withstand an attacker, and keep up with
the memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import xxhash


def tensor_checksum(tensor: torch.Tensor) -> str:
    """128-bit XXH3 of dtype, shape and contiguous bytes, in hex. Equal bits give equal checksums on any device."""
    return checksum_of_bytes(tensor, bytes_of(tensor))


def tensor_checksums(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """`tensor_checksum` of each tensor, by name, in the time that half of them take.

    Each of two threads goes through a share of its own: to hand over the tensors one by one would take longer.
    """
    names = list(tensors)
    with ThreadPoolExecutor(1) as beside:
        rest = beside.submit(lambda: {name: tensor_checksum(tensors[name]) for name in names[1::2]})
        found = {name: tensor_checksum(tensors[name]) for name in names[0::2]} | rest.result()
    return {name: found[name] for name in names}


def checksums_digest(checksums: Mapping[str, str]) -> str:
    """One hash of name → checksum that does not depend on the order."""
    hasher = hashlib.blake2b(digest_size=16)
    for name in sorted(checksums):
        hasher.update(f"{name}={checksums[name]}\n".encode())
    return hasher.hexdigest()


def tensors_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """The digest of these tensors, comparable with `Manifest.digest`; give it the manifest's names only."""
    return checksums_digest(tensor_checksums(tensors))


def checksum_of_bytes(tensor: torch.Tensor, raw: np.ndarray) -> str:
    """`tensor_checksum` where `raw`, the tensor's bytes, is there already."""
    hasher = xxhash.xxh3_128(f"{dtype_name(tensor.dtype)}{tuple(tensor.shape)}".encode())
    hasher.update(raw)
    return hasher.hexdigest()


def bytes_of(tensor: torch.Tensor) -> np.ndarray:
    """The tensor's contiguous bytes, uint8; where it is contiguous on the CPU, its own memory."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


def dtype_name(dtype: torch.dtype) -> str:
    """As `float32`."""
    return str(dtype).removeprefix("torch.")
