"""vLLM's CUDA IPC receiver, with proof: buckets lie in the sender's memory on the same GPU (not run on a GPU)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vllm.distributed.weight_transfer.ipc_engine import IPCWeightTransferEngine, IPCWeightTransferUpdateInfo

from serving.receiving.receiver import ProvenReceiver
from weights.transports.cuda_handle import full_handle


@dataclass(kw_only=True)
class IpcBuckets(IPCWeightTransferUpdateInfo):
    """One shared buffer (`names` are the numbers of the buckets in it), and the tensors in them. `ipc_handles` come as
    `weights.transports.cuda_handle.plain_handle` writes them, by GPU."""

    policy: str
    version: int
    tensors: list[dict[str, Any]]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.ipc_handles: dict[str, Any] = {gpu: full_handle(handle) for gpu, handle in self.ipc_handles.items()}


class IpcReceiver(ProvenReceiver, IPCWeightTransferEngine):
    """Loads the buckets that vLLM's `IPCTrainerWeightTransferEngine` shares."""

    update_info_cls = IpcBuckets
