"""vLLM's NCCL receiver in a process without a GPU: gloo in NCCL's place, everything else is vLLM's and ours."""

from __future__ import annotations

import os
from contextlib import nullcontext
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

import torch
from vllm.distributed.weight_transfer import nccl_common, packed_tensor

from serving.receiving.copy_watch import CopyWatch
from serving.receiving.nccl import NcclReceiver

torch.set_num_threads(1)
SHAPES = {"embed": (50, 8), "coarse": (33,), "norm": (7,)}
TIMEOUT = timedelta(seconds=60)


class GlooGroup:
    """What a transfer uses of vLLM's PyNcclCommunicator. `damage` is done to every buffer that is sent."""

    def __init__(self, host: str, port: int, rank: int, world_size: int, device: Any, damage: Any = None) -> None:
        self.rank, self.size, self._damage = rank, world_size, damage
        meeting = f"tcp://{host}:{port}"
        torch.distributed.init_process_group("gloo", meeting, TIMEOUT, world_size=world_size, rank=rank)
        self.sizes: list[int] = []

    def broadcast(self, tensor: torch.Tensor, src: int, stream: Any = None) -> None:
        if self.rank == src and self._damage is not None:
            tensor = self._damage(tensor)
        self.sizes.append(len(tensor))
        torch.distributed.broadcast(tensor, src)

    def destroy(self) -> None:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def without_gpu(setattr: Any, group: Any = GlooGroup) -> None:
    """Let vLLM's transfer code run here, where it has neither streams nor NCCL."""
    setattr(nccl_common, "stateless_init_process_group", group)
    setattr(packed_tensor, "_get_streams", lambda *_: [SimpleNamespace(synchronize=lambda: None)] * 2)
    setattr(torch.cuda, "stream", lambda _: nullcontext())
    setattr(torch.accelerator, "current_device_index", lambda: 0)


class Model(torch.nn.Module):
    """Three parameters that are loaded by name."""

    def __init__(self) -> None:
        super().__init__()
        for name, shape in SHAPES.items():
            dtype = torch.bfloat16 if name == "coarse" else torch.float32
            self.register_parameter(name, torch.nn.Parameter(torch.zeros(shape, dtype=dtype), requires_grad=False))

    def load_weights(self, tensors: Any) -> None:
        for name, tensor in tensors:
            if name not in SHAPES:
                raise ValueError(f"there is no parameter {name!r}")
            self.get_parameter(name).data.copy_(tensor)


def new_receiver(kind: type) -> Any:
    """A receiver for `Model` on this process's only worker."""
    parallel = SimpleNamespace(data_parallel_index=0, world_size=1, rank=0)
    config = SimpleNamespace(parallel_config=parallel, model_config=None)
    return kind(None, config, torch.device("cpu"), Model())


def answer_steps(pipe: Any) -> None:
    """Be a replica: take steps from the pipe, and answer each with its result or its error."""
    without_gpu(setattr)
    receiver = new_receiver(NcclReceiver)
    while (message := pipe.recv()) is not None:
        step, argument = message
        try:
            pipe.send((None, take_step(receiver, step, argument)))
        except Exception as error:
            pipe.send((f"{type(error).__name__}: {error}", None))


def take_step(receiver: Any, step: str, argument: Any) -> Any:
    """What `ReplicaWeights` lets vLLM do with its receiver."""
    if step == "join":
        receiver.init_transfer_engine(receiver.parse_init_info(argument))
        return receiver.model_update_group.rank
    if step == "begin":
        receiver.watch = CopyWatch()
    if step == "take":
        receiver.update_weights(argument)
        return receiver.model_update_group.sizes
    if step == "finish":
        return receiver.watch.checksums
    if step == "leave":
        receiver.shutdown()
    return None
