"""Named tensors in parts of bounded size, also where ZeRO-3 has split them over the ranks.

With ZeRO-3, a rank holds a piece of each parameter, which then carries DeepSpeed's attributes `ds_*`. To read one, all
ranks gather it together and let go of it again, so every function here that says so is a call of all ranks at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch

BUCKET_BYTES = 64 << 20


def whole_numel(tensor: torch.Tensor) -> int:
    """Elements of the tensor, all ranks' pieces together."""
    return getattr(tensor, "ds_numel", None) or tensor.numel()


def whole_nbytes(tensor: torch.Tensor) -> int:
    """Bytes of the tensor, all ranks' pieces together."""
    return whole_numel(tensor) * tensor.element_size()


def distinct(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], tuple[tuple[str, str], ...]]:
    """The tensors without those that are the same memory as an earlier one, and (name, earlier name) of these."""
    first: dict[tuple[object, ...], str] = {}
    aliases = []
    for name, tensor in tensors.items():
        identity: tuple[object, ...]
        if is_split(tensor):
            identity = (id(tensor),)
        else:
            identity = (tensor.device, tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        if whole_numel(tensor) and first.setdefault(identity, name) != name:
            aliases.append((name, first[identity]))
    dropped = {name for name, _ in aliases}
    return {name: tensor for name, tensor in tensors.items() if name not in dropped}, tuple(aliases)


def parts(tensors: Mapping[str, torch.Tensor], bucket_bytes: int = BUCKET_BYTES) -> Iterator[dict[str, torch.Tensor]]:
    """The tensors in their order, in parts of at most `bucket_bytes` (a larger tensor is a part of its own).

    A part is whole until the next one is asked for: no more of a split model than that is in one place. All ranks must
    go through all parts.
    """
    part: dict[str, torch.Tensor] = {}
    size = 0
    for name, tensor in tensors.items():
        nbytes = whole_nbytes(tensor)
        if part and size + nbytes > bucket_bytes:
            with whole(part.values()):
                yield part
            part, size = {}, 0
        part[name] = tensor
        size += nbytes
    if part:
        with whole(part.values()):
            yield part


@contextmanager
def whole(tensors: Iterable[torch.Tensor]) -> Iterator[None]:
    """Gather those of the tensors that are split; all ranks must do it together. They must not be changed meanwhile."""
    split = [tensor for tensor in tensors if is_split(tensor)]
    if not split:
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(split):
        yield


def is_split(tensor: torch.Tensor) -> bool:
    """Whether each rank holds a piece of the tensor."""
    return hasattr(tensor, "ds_id")
