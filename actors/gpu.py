"""What a process that holds a model asks of its GPU."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def peak_gpu_bytes() -> int:
    """The most bytes that torch had allocated on this process's GPU since the last call; 0 where it uses none. A
    process that has not loaded torch need not load it for this."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return 0
    peak: int = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    return peak


def gpu_uuid(device: torch.device | None = None) -> str | None:
    """A GPU of this process, the current one without `device`, as NVIDIA names it on every host; None where it uses
    none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized() or (device is not None and device.type == "cpu"):
        return None
    return str(torch.cuda.get_device_properties(torch.cuda.current_device() if device is None else device).uuid)


def release_gpu_memory() -> None:
    """Give back what torch's allocator keeps of the GPU for itself, so that other processes can have it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def avoid_cudnn_attention() -> None:
    """Leave attention to torch's other kernels in this process, in rollout and learner alike.

    cuDNN's is torch's first choice on Hopper, and its backward pass ends with an illegal memory access or NaN at some
    shapes (pytorch/pytorch#196678, #190321); FLUX's in bfloat16 is one of them.
    """
    import torch

    torch.backends.cuda.enable_cudnn_sdp(False)
