"""A LoRA adapter as it is sent: its tensors, what else a receiver must know, and how it changes the weights.

The tensors are named as peft saves them: `MODULE.lora_A.weight` (rank, inputs) and `MODULE.lora_B.weight` (outputs,
rank) for each linear layer MODULE that is adapted. Nothing here needs peft, so that a receiver can merge without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from learner.checksums import checksums_digest, tensor_checksum
from learner.weights import WeightMismatch, dtype_of


@dataclass(frozen=True)
class Target:
    """One adapted linear layer: the name of its module, and that of its matrix (outputs, inputs) in a model folder."""

    module: str
    weight: str

    @property
    def names(self) -> tuple[str, str]:
        """Names of A and B."""
        return f"{self.module}.lora_A.weight", f"{self.module}.lora_B.weight"


@dataclass(frozen=True)
class AdapterSpec:
    """What belongs to an adapter besides its tensors.

    Attributes:
        rank, alpha: the change of each matrix W is alpha / rank · B·A.
        targets: the layers that it adapts.
        dtype: number format in which the learner holds W.
        base: `base_digest` of the W that the adapter was trained on.
    """

    rank: int
    alpha: float
    targets: tuple[Target, ...]
    dtype: str
    base: str


def merge(spec: AdapterSpec, target: Target, weight: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """W + alpha / rank · B·A in the learner's number format, as peft's `merge_and_unload` computes it."""
    down, up = (tensors[name] for name in target.names)
    return weight.to(dtype_of(spec.dtype)) + (up @ down) * (spec.alpha / spec.rank)


def base_digest(weights: Iterable[tuple[str, torch.Tensor]], dtype: str) -> str:
    """One hash of named matrices in the number format `dtype`; it does not depend on their order."""
    return checksums_digest({name: tensor_checksum(weight.to(dtype_of(dtype))) for name, weight in weights})


def check_fit(
    where: str,
    spec: AdapterSpec,
    tensors: Mapping[str, torch.Tensor],
    weights: Iterable[tuple[Target, torch.Tensor]],
) -> None:
    """Refuse an adapter for other weights than a receiver has.

    Args:
        where: the beginning of an error's message.
        spec, tensors: the adapter.
        weights: the receiver's W of each target.

    Raises:
        WeightMismatch: the tensors do not fit the matrices, or these have other values than those it was trained on.
    """
    checksums, wanted = {}, {}
    for target, weight in weights:
        (outputs, inputs), (down, up) = weight.shape, target.names
        wanted |= {down: (spec.rank, inputs), up: (outputs, spec.rank)}
        checksums[target.weight] = tensor_checksum(weight.to(dtype_of(spec.dtype)))
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if wrong := sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)):
        raise WeightMismatch(
            f"{where}: {len(wrong)} tensors of the adapter do not fit the model; {wrong[0]!r} has shape "
            f"{found.get(wrong[0])}, {wanted.get(wrong[0])} fits"
        )
    if (base := checksums_digest(checksums)) != spec.base:
        raise WeightMismatch(
            f"{where}: the adapter was trained on weights with digest {spec.base}, those here have {base}; give the "
            "learner and the replica the same model folder"
        )
