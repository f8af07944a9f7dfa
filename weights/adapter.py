"""A LoRA adapter as it is sent: its tensors, what else a receiver must know, and how it changes the weights.

The tensors are named as peft saves them: `MODULE.lora_A.weight` (rank, inputs) and `MODULE.lora_B.weight` (outputs,
rank) for each linear layer MODULE that is adapted. Nothing here needs peft, so that a receiver can merge without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from weights.adapter_spec import AdapterSpec, Target
from weights.checksums import checksums_digest, tensor_checksum
from weights.manifest import WeightMismatch, dtype_of


def merge(spec: AdapterSpec, target: Target, weight: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """W + alpha / rank · B·A in the learner's number format, as peft's `merge_and_unload` computes it."""
    down, up = (tensors[name] for name in target.names)
    return weight.to(dtype_of(spec.dtype)) + (up @ down) * (spec.alpha / spec.rank)


def change(spec: AdapterSpec, target: Target, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """alpha / rank · B·A in float32."""
    down, up = (tensors[name].float() for name in target.names)
    return (up @ down) * (spec.alpha / spec.rank)


LEAST_SURVIVING = 0.9
"""Share of an adapter's change below which weights with it are not taken for the trained ones."""


class Survival:
    """How much of a change D is left where numbers are rounded to W before and to W + R with it: 1 - |R - D| / |D|,
    over all matrices, and not below 0. It is 1 without rounding. Where most elements keep their old value, or some
    change by far more than they should, nothing is left."""

    def __init__(self) -> None:
        self._off, self._wanted = 0.0, 0.0

    def add(self, before: torch.Tensor, wanted: torch.Tensor, after: torch.Tensor) -> None:
        """One matrix: W, D, and W + R."""
        exact = wanted.double()
        self._off += (after.double() - before.double() - exact).square().sum().item()
        self._wanted += exact.square().sum().item()

    @property
    def share(self) -> float:
        """The share of the change that is left; 1 where none was wanted."""
        return max(0.0, 1 - (self._off / self._wanted) ** 0.5) if self._wanted else 1.0


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
    checksums: dict[str, str] = {}
    wanted: dict[str, tuple[int, ...]] = {}
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
