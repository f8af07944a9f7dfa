"""Weights on their way from the learner to the replicas: packed into buckets, listed in a manifest, proven on arrival.

The learner packs named tensors into a few large byte buckets (`pack`), puts them into the object store (`publish`), and
every replica unpacks, loads and answers with a receipt (`unpack`, `make_receipt`). The receipt's digest comes from the
parameters that the replica then holds, so `verify_receipts` proves what is being served, not what was sent.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from weights.checksums import bytes_checksum, bytes_checksums, bytes_of, checksums_digest, dtype_name, tensor_checksum
from weights.parts import BUCKET_BYTES, distinct, is_split, parts, whole_numel
from weights.pieces import Pieces

if TYPE_CHECKING:
    from weights.adapter_spec import AdapterSpec

_ALIGNMENT = 16  # every tensor starts at a multiple of this, so that its bytes can be viewed as any dtype
_PACKERS = 2  # threads: while one takes checksums, the other copies


class WeightMismatch(RuntimeError):
    """Weights that a replica received or holds are not those of the manifest."""


class WeightsLost(RuntimeError):
    """Weights ended with the process that made them, before they were fetched."""


@dataclass(frozen=True)
class TensorSpec:
    """Where one tensor lies and what it must be. `offset` is in bytes within bucket number `bucket`."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    checksum: str
    bucket: int
    offset: int

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * dtype_of(self.dtype).itemsize

    def expect(self, found: str, where: str) -> None:
        """Raise WeightMismatch, which says `where`, unless the checksum that was found is the tensor's."""
        if found != self.checksum:
            raise WeightMismatch(f"{where}: tensor {self.name!r} has checksum {found}, expected {self.checksum}")


@dataclass(frozen=True)
class Manifest:
    """Names, shapes, dtypes and checksums of one version of one policy.

    `aliases` are (name, kept name) pairs of tied parameters: they share memory, so only the first name is sent.
    `adapter` says that the tensors are those of a LoRA adapter, and what else a receiver must know.
    """

    policy: str
    version: int
    tensors: tuple[TensorSpec, ...]
    aliases: tuple[tuple[str, str], ...] = ()
    adapter: AdapterSpec | None = None

    @property
    def checksums(self) -> dict[str, str]:
        """Checksum of each tensor by name."""
        return {spec.name: spec.checksum for spec in self.tensors}

    @property
    def digest(self) -> str:
        """One hash over all names and checksums; equal to `tensors_digest` of the same tensors."""
        return checksums_digest(self.checksums)


@dataclass(frozen=True)
class WeightUpdate:
    """A manifest and its buckets: uint8 arrays, tensors or `Pieces`, or Ray references to them once published."""

    manifest: Manifest
    buckets: list[Any]

    @property
    def kind(self) -> Literal["full", "lora"]:
        """Whether these are all weights of the model or an adapter to it."""
        return "full" if self.manifest.adapter is None else "lora"

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(spec.nbytes for spec in self.manifest.tensors)


def pack(
    policy: str,
    version: int,
    tensors: Mapping[str, torch.Tensor],
    bucket_bytes: int = BUCKET_BYTES,
    adapter: AdapterSpec | None = None,
) -> WeightUpdate:
    """Copy tensors into contiguous buckets of about `bucket_bytes` (a larger tensor gets a bucket of its own).

    Tensors that are the same memory (tied parameters) are sent once, under the name that comes first in `tensors`.
    Those that ZeRO-3 has split are gathered a bucket at a time, while the other ranks go through the same `parts`.

    Raises:
        ValueError: no tensors, or a tensor without elements.
    """
    return _packed(np.asarray, policy, version, tensors, bucket_bytes, adapter)


def publish(update: WeightUpdate) -> WeightUpdate:
    """Put the buckets into the Ray object store: one reference a bucket, read by all replicas of a node in place."""
    import ray

    return replace(update, buckets=[ray.put(bucket) for bucket in update.buckets])


def publish_tensors(
    policy: str,
    version: int,
    tensors: Mapping[str, torch.Tensor],
    bucket_bytes: int = BUCKET_BYTES,
    adapter: AdapterSpec | None = None,
) -> WeightUpdate:
    """What `publish` makes of what `pack` makes, with one copy of each tensor instead of two.

    Raises:
        ValueError: as `pack`.
    """
    import ray

    return _packed(ray.put, policy, version, tensors, bucket_bytes, adapter)


def _packed(
    keep: Callable[[Pieces], Any],
    policy: str,
    version: int,
    tensors: Mapping[str, torch.Tensor],
    bucket_bytes: int,
    adapter: AdapterSpec | None,
) -> WeightUpdate:
    """The update whose buckets are what `keep` makes of their pieces."""
    where = f"policy {policy!r} version {version}"
    if not tensors:
        raise ValueError(f"{where}: there are no tensors to send; give at least one")
    kept, aliases = distinct(tensors)
    for name, tensor in kept.items():
        if whole_numel(tensor) == 0:
            raise ValueError(f"{where}: tensor {name!r} has no elements (shape {tuple(tensor.shape)}); leave it out")
    with ThreadPoolExecutor(_PACKERS) as packers:
        packed = []
        for number, part in enumerate(parts(kept, bucket_bytes)):
            packed.append(packers.submit(_pack_part, keep, number, part))
            if any(is_split(tensor) for tensor in part.values()):
                packed[-1].result()  # the next part takes this one apart again
    buckets, specs = zip(*(one.result() for one in packed), strict=True)
    return WeightUpdate(Manifest(policy, version, tuple(chain.from_iterable(specs)), aliases, adapter), list(buckets))


def _pack_part(
    keep: Callable[[Pieces], Any], number: int, part: Mapping[str, torch.Tensor]
) -> tuple[Any, list[TensorSpec]]:
    pieces = _pieces(part)
    specs = []
    for (name, tensor), raw, offset in zip(part.items(), pieces.arrays, pieces.offsets, strict=True):
        dtype, shape = dtype_name(tensor.dtype), tuple(tensor.shape)
        specs.append(TensorSpec(name, shape, dtype, bytes_checksum(dtype, shape, raw), number, offset))
    return keep(pieces), specs


def _pieces(part: Mapping[str, torch.Tensor]) -> Pieces:
    arrays, offsets, size = [], [], 0
    for tensor in part.values():
        arrays.append(bytes_of(tensor))
        offsets.append(size)
        size += -(-arrays[-1].size // _ALIGNMENT) * _ALIGNMENT
    return Pieces(arrays, tuple(offsets), size)


def fetch(update: WeightUpdate, deadline_s: float = 120.0) -> WeightUpdate:
    """The update with its buckets in local memory, as they lie there: arrays, tensors or `Pieces`.

    Raises:
        TimeoutError: the object store did not deliver the buckets within `deadline_s` seconds.
        WeightsLost: the process that made them has ended.
    """
    if all(isinstance(bucket, np.ndarray | torch.Tensor | Pieces) for bucket in update.buckets):
        return update
    import ray

    where = f"weights of policy {update.manifest.policy!r} version {update.manifest.version}"
    try:
        return replace(update, buckets=ray.get(list(update.buckets), timeout=deadline_s))
    except ray.exceptions.GetTimeoutError as error:
        raise TimeoutError(
            f"{where}: {len(update.buckets)} buckets did not arrive from the object store within {deadline_s} s"
        ) from error
    except ray.exceptions.ObjectLostError as error:
        raise WeightsLost(
            f"{where}: the process that made them, a run's learner, ended before they were fetched; see its log"
        ) from error


def fetch_whole(update: WeightUpdate, deadline_s: float = 120.0) -> WeightUpdate:
    """As `fetch`, each bucket in one piece, for what sends buckets on.

    Raises:
        TimeoutError, WeightsLost: see `fetch`.
    """
    update = fetch(update, deadline_s)
    whole = [np.asarray(bucket) if isinstance(bucket, Pieces) else bucket for bucket in update.buckets]
    return replace(update, buckets=whole)


def received(update: WeightUpdate, deadline_s: float = 120.0) -> list[np.ndarray | torch.Tensor]:
    """The bytes of each tensor in the manifest's order, where they lie, which must not be written to, and unchecked.

    Raises:
        WeightMismatch: a bucket is missing or too short.
        TimeoutError, WeightsLost: see `fetch`.
    """
    manifest = update.manifest
    where = f"policy {manifest.policy!r} version {manifest.version}"
    if not manifest.tensors:
        raise WeightMismatch(f"{where}: the manifest lists no tensors")
    names = [spec.name for spec in manifest.tensors]
    if len(set(names)) != len(names):
        raise WeightMismatch(f"{where}: the manifest lists a tensor twice")
    buckets, contents = fetch(update, deadline_s).buckets, []
    for spec in manifest.tensors:
        if not 0 <= spec.bucket < len(buckets):
            raise WeightMismatch(f"{where}: tensor {spec.name!r} is in bucket {spec.bucket} of {len(buckets)}")
        raw = buckets[spec.bucket][spec.offset : spec.offset + spec.nbytes]
        if len(raw) != spec.nbytes:
            raise WeightMismatch(f"{where}: tensor {spec.name!r} has {len(raw)} of {spec.nbytes} bytes in its bucket")
        contents.append(raw)
    return contents


def tensors_in(manifest: Manifest, contents: Sequence[np.ndarray | torch.Tensor]) -> dict[str, torch.Tensor]:
    """What was `received` as tensors in the same memory, by name.

    Raises:
        WeightMismatch: a dtype is not torch's.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of memory that is read-only, as the object store's is
        tensors = [torch.as_tensor(raw) for raw in contents]
    pairs = zip(manifest.tensors, tensors, strict=True)
    return {spec.name: tensor.view(dtype_of(spec.dtype)).reshape(spec.shape) for spec, tensor in pairs}


def check_bytes(manifest: Manifest, contents: Sequence[np.ndarray | torch.Tensor], where: str) -> None:
    """Raise WeightMismatch, which says `where`, unless what was `received` has the manifest's checksums."""
    pairs = zip(manifest.tensors, contents, strict=True)
    found = bytes_checksums([(spec.dtype, spec.shape, raw) for spec, raw in pairs])
    for spec, checksum in zip(manifest.tensors, found, strict=True):
        spec.expect(checksum, where)


def unpack(update: WeightUpdate, deadline_s: float = 120.0, own: bool = True) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield (name, tensor) in the manifest's order, checked. Each tensor is a copy that the receiver owns, or without
    `own` the bytes where they lie, which must not be written to.

    Raises:
        WeightMismatch: a bucket is missing or too short, or a tensor's bytes differ from its checksum.
        TimeoutError: see `fetch`.
    """
    where = f"policy {update.manifest.policy!r} version {update.manifest.version}"
    tensors = tensors_in(update.manifest, received(update, deadline_s))
    for spec in update.manifest.tensors:
        kept = tensors[spec.name].clone() if own else tensors[spec.name]
        spec.expect(tensor_checksum(kept), where)
        yield spec.name, kept


def dtype_of(name: str) -> torch.dtype:
    """The torch dtype of a name such as `float32`.

    Raises:
        WeightMismatch: there is none.
    """
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise WeightMismatch(f"dtype {name!r} is not a torch dtype")
    return dtype
