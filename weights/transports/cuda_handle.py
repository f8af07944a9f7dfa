"""How a process names memory on a GPU so that another one can map it, in types that every message format keeps.

torch's `reduce_tensor` gives the arguments of `rebuild_cuda_tensor`, among them classes and a dtype. vLLM's messages
carry these only when it is told to unpickle whatever it receives; a buffer of bytes can do without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

_FIXED = {
    0: torch.Tensor,
    4: torch.storage.TypedStorage,
    5: torch.uint8,
}  # positions in rebuild_cuda_tensor's arguments
_SHAPES = (1, 2)


def plain_handle(arguments: Sequence[Any]) -> list[Any]:
    """`rebuild_cuda_tensor`'s arguments for a uint8 tensor, without what is the same for all of these.

    Raises:
        ValueError: the arguments are of another kind of tensor.
    """
    for position, value in _FIXED.items():
        if arguments[position] is not value:
            raise ValueError(f"argument {position} of the handle is {arguments[position]!r}; share a tensor of uint8")
    return [None if k in _FIXED else list(v) if k in _SHAPES else v for k, v in enumerate(arguments)]


def full_handle(plain: Sequence[Any]) -> tuple[Any, ...]:
    """The arguments that `plain_handle` was given."""
    return tuple(_FIXED[k] if k in _FIXED else tuple(v) if k in _SHAPES else v for k, v in enumerate(plain))
