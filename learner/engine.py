"""One rank's process group and DeepSpeed engine: on CPU with gloo, on a GPU with NCCL."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import torch

from learner.config import LearnerConfig
from learner.saving.state import with_safe_files
from weights.parts import distinct, whole_numel

WHOLE_ELEMENTS = 8192
"""With ZeRO-3, parameters of at most so many elements (norms, biases) stay whole on every rank."""


def listen(host: str, ranks: int, deadline_s: float) -> torch.distributed.TCPStore:
    """The meeting point of all ranks, held by rank 0 on a port that the system picks (read it from `.port`)."""
    return torch.distributed.TCPStore(
        host, 0, ranks, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=deadline_s)
    )


def join(
    store: torch.distributed.TCPStore | None,
    host: str,
    port: int,
    rank: int,
    ranks: int,
    deadline_s: float,
    device: str = "cpu",
) -> None:
    """Make this process rank `rank` of `ranks`, in torch.distributed and in DeepSpeed.

    Args:
        store: what `listen` returned, at rank 0; None elsewhere.
        device: `cpu` or `cuda`; counts and the like are exchanged over gloo in both cases.

    Raises:
        torch.distributed.DistError: the other ranks did not come within the deadline.
    """
    timeout = timedelta(seconds=deadline_s)
    if store is None:
        store = torch.distributed.TCPStore(host, port, ranks, is_master=False, timeout=timeout)
    backend = "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl"
    torch.distributed.init_process_group(backend, store=store, rank=rank, world_size=ranks, timeout=timeout)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_RANK="0", MASTER_ADDR=host, MASTER_PORT=str(port))
    _quiet_deepspeed().init_distributed(dist_backend="gloo" if device == "cpu" else "nccl", verbose=False)


def new_engine(module: torch.nn.Module, config: LearnerConfig) -> Any:
    """A DeepSpeed engine that trains all parameters of `module` that ask for a gradient.

    Raises:
        ValueError: none does, or one of them has no elements.
    """
    trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    if not trained:
        raise ValueError(f"{type(module).__name__} has no parameter that requires a gradient; nothing would be trained")
    empty = [name for name, parameter in trained.items() if whole_numel(parameter) == 0]
    if empty:
        raise ValueError(f"{type(module).__name__}: parameters without elements cannot be trained: {empty[:3]}")
    engine, *_ = _quiet_deepspeed().initialize(
        model=module, model_parameters=list(trained.values()), config=_engine_config(config)
    )
    module.eval()  # ratios compare equal networks, so nothing random may act in either of the two
    return with_safe_files(engine)


def dissolve(engine: Any) -> None:
    """Leave the process group, and let go of what an engine, None where none was made, keeps for training. The process
    can join another group and make another engine for the same module."""
    if engine is not None:
        engine.destroy()
    if torch.distributed.is_initialized():
        from deepspeed.utils import groups

        torch.distributed.destroy_process_group()
        groups._release_process_group_references(group=None)


def frozen_engine(module: torch.nn.Module, config: LearnerConfig) -> Any:
    """An engine that splits a model over the ranks as `new_engine` does with ZeRO-3, and trains nothing of it."""
    settings = {key: value for key, value in _engine_config(config).items() if key != "optimizer"}
    engine, *_ = _quiet_deepspeed().initialize(model=module, config=settings)
    module.eval()
    return engine


def exact_weights(engine: Any, tensors: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """Those of the tensors that train, each once, in float32 as the optimizer has them: with bfloat16, ZeRO keeps more
    of them than the model shows. A call of all ranks, which must go through all."""
    from deepspeed.utils import safe_get_full_fp32_param

    for name, tensor in trained(tensors).items():
        yield name, safe_get_full_fp32_param(tensor) if engine.zero_optimization() else tensor.detach()


def trained(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Those of the tensors that train, each once."""
    return {name: tensor for name, tensor in distinct(tensors)[0].items() if tensor.requires_grad}


def step(engine: Any, terms: int, learning_rate: float) -> float:
    """Divide the accumulated gradients by the number of terms that they are a sum over, clip them, take an optimizer
    step of this size, and return the L2 norm before clipping.

    Raises:
        ValueError: no term.
        FloatingPointError: the norm is not finite.
    """
    if terms <= 0:
        raise ValueError(f"the batch has {terms} terms; there is nothing to train on")
    for group in engine.optimizer.param_groups:
        group["lr"] = learning_rate
    if engine.zero_optimization():
        engine.optimizer.override_loss_scale(float(terms))
        try:
            engine.step()
        finally:
            engine.optimizer.override_loss_scale(1.0)
        norm = float(engine.get_global_grad_norm())
    else:  # DeepSpeed keeps neither a norm nor a scale without ZeRO
        gradients = [p.grad for p in engine.module.parameters() if p.grad is not None]
        for gradient in gradients:
            gradient /= terms
        norm = float(torch.nn.utils.get_total_norm(gradients))
        if math.isfinite(norm):
            engine.step()
    if not math.isfinite(norm):
        raise FloatingPointError(
            f"the gradient norm is {norm}; load the last checkpoint and lower learning_rate (now {engine.get_lr()[0]})"
        )
    return norm


def _engine_config(config: LearnerConfig) -> dict[str, Any]:
    """DeepSpeed's configuration. Gradients accumulate over as many forward passes as a batch has, so its own counter
    of them stays at 1 and the engine is told which pass is the last."""
    adamw = {
        "lr": config.learning_rate,
        "betas": list(config.betas),
        "eps": config.epsilon,
        "weight_decay": config.weight_decay,
        "torch_adam": True,
    }
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "optimizer": {"type": "AdamW", "params": adamw},
        "gradient_clipping": config.max_grad_norm,
        "zero_optimization": {
            "stage": config.zero_stage,
            "stage3_param_persistence_threshold": WHOLE_ELEMENTS,
        },
        "bf16": {"enabled": config.dtype == "bfloat16"},
        "data_types": {"grad_accum_dtype": "fp32"},  # a sum over many forward passes would lose what is small
        "steps_per_print": 1 << 30,
    }


def _quiet_deepspeed() -> Any:
    import deepspeed
    from deepspeed.ops.op_builder.cpu import ShareMemCommBuilder
    from deepspeed.utils import logger

    logger.setLevel("WARNING")
    # DeepSpeed compiles this operator at start, half a minute, and uses it for inference only.
    deepspeed.ops.__compatible_ops__[ShareMemCommBuilder.NAME] = False
    return deepspeed
