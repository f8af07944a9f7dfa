"""Learners that leave their GPU while others work there, and come back."""

from __future__ import annotations

from typing import Any

import torch

from actors.gpu import release_gpu_memory


def leave(engine: Any, policy: Any) -> None:
    """Move a policy and what its engine keeps of it (weights in float32, gradients, AdamW's moments) to CPU memory.

    DeepSpeed moves what it split over the ranks (stages 1 and 2) by itself, and links the parameters to it again; of
    stage 3 it can move its own optimizer's alone, which `LearnerConfig` refuses.
    """
    if engine.zero_optimization():
        engine.offload_states(pin_memory=torch.cuda.is_available())
    else:
        _move_moments(engine.optimizer, "cpu")
    policy.to("cpu")
    release_gpu_memory()


def come_back(engine: Any, policy: Any, device: str) -> None:
    """Undo `leave`; nothing happens where it was not called."""
    if engine.zero_optimization():
        engine.reload_states()
    else:
        _move_moments(engine.optimizer, device)
    policy.to(device)


def _move_moments(optimizer: torch.optim.Optimizer, device: str) -> None:
    """Move the optimizer's state; torch keeps counts of steps on the CPU."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                state[name] = value.to(device)
