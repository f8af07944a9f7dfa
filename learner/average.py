"""The average of a policy's weights over its updates: steadier than any one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from learner.engine import exact_weights, trained
from learner.saving.shards import write_shards
from weights.checksums import checksums_digest, tensor_checksums
from weights.manifest import WeightUpdate, pack, unpack
from weights.parts import is_split, parts

if TYPE_CHECKING:
    from learner.trained_weights import TrainedWeights

FOLDER = "average"  # beside the engine's files in a saved state
_STEM = "weights"
_KEY = "average"  # of a saved state's description

Named = Iterable[tuple[str, torch.Tensor]]


class WeightAverage:
    """An exponential moving average in float32, in CPU memory. Update n, from 1, moves it by

        average += (1 − d)·(weights − average)   with d = min(decay, n / (9 + n)),

    so that the start, which is far from what is learnt, is soon forgotten. It is that of diffusers' `EMAModel`, and of
    Flow-GRPO, there with decay 0.9.

    Args:
        decay: in (0, 1).
        holds: whether this rank keeps it; the others only take part in calls of all ranks.

    Attributes:
        updates: n.
        tensors: by the names in which weights are sent; empty where it is not held.
    """

    def __init__(self, decay: float, holds: bool = True) -> None:
        self._decay, self._holds = decay, holds
        self.updates = 0
        self.tensors: dict[str, torch.Tensor] = {}

    def start(self, weights: Named) -> None:
        """Begin with these weights, which no update has changed yet."""
        self.updates = 0
        self.tensors = {name: _copy(tensor) for name, tensor in weights if self._holds}

    @torch.no_grad()
    def add(self, weights: Named) -> None:
        """Take in the weights after one more update; the same names as at the start."""
        self.updates += 1
        decay = min(self._decay, self.updates / (9 + self.updates))
        for name, tensor in weights:
            if self._holds:
                self.tensors[name].lerp_(tensor.detach().to("cpu", torch.float32), 1 - decay)

    @contextmanager
    def in_place(self, weights: Mapping[str, torch.Tensor]) -> Iterator[None]:
        """Meanwhile the model's own tensors of these names are the average in their number format; afterwards they
        are to the bit what they were. A call of all ranks."""
        kept: dict[str, torch.Tensor] = {}
        names = list(weights)  # in an order that is the same on all ranks
        for part in parts({name: weights[name] for name in names}):
            kept |= {name: part[name].detach().cpu().clone() for name in part if self._holds}
        self._write(weights, self.tensors)
        try:
            yield
        finally:
            self._write(weights, kept)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write it into a saved state, and return what `load` must know besides."""
        write_shards(folder / FOLDER, _STEM, [self.tensors])
        return {"updates": self.updates, "digest": checksums_digest(tensor_checksums(self.tensors))}

    def load(self, folder: Path, known: Mapping[str, Any]) -> None:
        """Go on with what `save` wrote.

        Raises:
            ValueError: it is not what was saved.
        """
        self.updates = int(known["updates"])
        if not self._holds:
            return
        tensors = read_average(folder) or {}
        if checksums_digest(tensor_checksums(tensors)) != known["digest"]:
            raise ValueError(f"{folder}: its average is not the one that was saved; the checkpoint is damaged")
        self.tensors = tensors

    @torch.no_grad()
    def _write(self, weights: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]) -> None:
        for name, tensor in weights.items():
            with _writable(tensor):
                if self._holds:
                    tensor.copy_(values[name])


class PolicyAverage:
    """The average of what a policy trains, on one rank of its learner; without a decay there is none, and nothing
    happens. Every method but `save`, which is rank 0's, is a call of all ranks."""

    def __init__(self, engine: Any, weights: TrainedWeights, decay: float, rank: int) -> None:
        self._engine, self._weights = engine, weights
        self._average = WeightAverage(decay, holds=rank == 0) if decay else None
        self._start()

    def add(self) -> None:
        """Take in the weights after an update."""
        if self._average is not None:
            self._average.add(exact_weights(self._engine, self._weights.tensors()))

    def in_place(self) -> AbstractContextManager[None]:
        """Let the policy's weights be the average meanwhile."""
        if self._average is None:
            return nullcontext()
        return self._average.in_place(trained(self._weights.tensors()))

    def save(self, folder: Path) -> dict[str, Any]:
        """Write it into a saved state, and return what the state's description says of it."""
        return {} if self._average is None else {_KEY: self._average.save(folder)}

    def load(self, folder: Path, state: Mapping[str, Any]) -> None:
        """Go on with that of a saved state, or begin with the weights that were loaded where it has none.

        Raises:
            ValueError: see `WeightAverage.load`.
        """
        if self._average is not None and _KEY in state:
            self._average.load(folder, state[_KEY])
        else:
            self._start()

    def _start(self) -> None:
        if self._average is not None:
            self._average.start(exact_weights(self._engine, self._weights.tensors()))


def read_average(folder: Path) -> dict[str, torch.Tensor] | None:
    """The average in a saved state, by the names in which weights are sent; None where it has none."""
    files = sorted((folder / FOLDER).glob("*.safetensors"))
    return {name: tensor for file in files for name, tensor in load_file(file).items()} or None


def averaged_update(update: WeightUpdate, average: Mapping[str, torch.Tensor]) -> WeightUpdate:
    """An update of the same policy and version with the average in the place of its weights, in their number format.

    Raises:
        WeightMismatch, TimeoutError: see `weights.manifest.unpack`.
    """
    manifest = update.manifest
    tensors = dict(unpack(update))
    for name, tensor in average.items():
        tensors[name] = tensor.to(tensors[name].dtype)
    tensors |= {alias: tensors[name] for alias, name in manifest.aliases}
    return pack(manifest.policy, manifest.version, tensors, adapter=manifest.adapter)


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", torch.float32, copy=True).contiguous()


@contextmanager
def _writable(tensor: torch.Tensor) -> Iterator[None]:
    """Gather a split tensor on all ranks; what rank 0 makes of it meanwhile is split again."""
    if not is_split(tensor):
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters([tensor], modifier_rank=0):
        yield
