"""What a process that holds a model asks of its GPU."""

from __future__ import annotations

import torch


def peak_gpu_bytes() -> int:
    """The most bytes that torch had allocated on this process's GPU since the last call; 0 where it uses none."""
    if not torch.cuda.is_initialized():
        return 0
    peak = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    return peak


def avoid_cudnn_attention() -> None:
    """Leave attention to torch's other kernels in this process, in rollout and learner alike.

    cuDNN's is torch's first choice on Hopper, and its backward pass ends with an illegal memory access or NaN at some
    shapes (pytorch/pytorch#196678, #190321); FLUX's in bfloat16 is one of them.
    """
    torch.backends.cuda.enable_cudnn_sdp(False)
