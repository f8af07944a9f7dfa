"""Watches vLLM's loader: which received tensor was copied into a parameter, and what the parameter then holds.

On a CPU, vLLM packs linear layers and forgets the plain weight, and it merges q, k and v into one parameter. So the
checksum is taken from the parameter's memory right after a tensor was copied into it, under the tensor's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from weights.checksums import tensor_checksum


@dataclass(frozen=True)
class _Received:
    """A received tensor, whose memory the watch does not keep alive: on a GPU all of them would not fit."""

    name: str
    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype
    memory: StorageWeakRef

    def whole(self, part: torch.Tensor) -> torch.Tensor:
        """The tensor that `part` is a view into."""
        nothing = torch.empty(0, dtype=self.dtype, device=part.device)
        return nothing.set_(part.untyped_storage(), 0, self.shape, self.stride)


class CopyWatch(TorchDispatchMode):
    """Takes the checksum of every parameter region right after a received tensor was copied into it."""

    def __init__(self) -> None:
        super().__init__()
        self.checksums: dict[str, str] = {}
        self._received: dict[int, _Received] = {}

    def expect(self, name: str, tensor: torch.Tensor) -> None:
        """Watch for copies out of `tensor`, which is contiguous and whose memory belongs to it alone."""
        memory = tensor.untyped_storage()
        layout = (tensor.shape, tensor.stride(), tensor.dtype)
        self._received[memory.data_ptr()] = _Received(name, *layout, StorageWeakRef(memory))

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.copy_.default and not args[0].is_meta and not args[1].is_meta:
            target, source = args[:2]
            found = self._received.get(source.untyped_storage().data_ptr())
            if found is not None and not found.memory.expired():
                self._take(found, target, source)
        return result

    def _take(self, received: _Received, target: torch.Tensor, source: torch.Tensor) -> None:
        if target.numel() == received.shape.numel() and target.dtype == received.dtype:
            self.checksums[received.name] = tensor_checksum(target.reshape(received.shape))
        elif torch.equal(target, source.to(target.device, target.dtype)):
            # A tensor-parallel shard or another number format: the part that this worker holds equals what was sent.
            self.checksums[received.name] = tensor_checksum(received.whole(source))
