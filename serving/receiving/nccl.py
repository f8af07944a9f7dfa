"""vLLM's NCCL receiver, with proof: buckets arrive as broadcasts of the sender, on the GPU (not run on a GPU)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vllm.distributed.weight_transfer.nccl_engine import NCCLWeightTransferEngine, NCCLWeightTransferUpdateInfo

from serving.receiving.receiver import ProvenReceiver


@dataclass(kw_only=True)
class NcclBuckets(NCCLWeightTransferUpdateInfo):
    """What vLLM must know of the buckets that will come (`names` are their numbers), and the tensors in them."""

    policy: str
    version: int
    tensors: list[dict[str, Any]]


class NcclReceiver(ProvenReceiver, NCCLWeightTransferEngine):
    """Loads the buckets that vLLM's `NCCLTrainerWeightTransferEngine` sends."""

    update_info_cls = NcclBuckets
