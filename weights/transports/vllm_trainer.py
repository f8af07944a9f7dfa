"""vLLM's trainer engines, which send buckets to the receivers in `serving/` (not run on a GPU).

vLLM's engines send named tensors. Here each of these is a bucket: one uint8 tensor, named by its number, so that what
is sent and checked is the same for every transport. Importing this module loads vLLM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import asdict
from typing import Any

import torch
from vllm.distributed.weight_transfer.base import (
    ParamMeta,
    TrainerWeightTransferEngine,
    VLLMWeightSyncClient,
    WeightSource,
)
from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory
from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo
from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

from weights.manifest import Manifest, WeightUpdate
from weights.parts import BUCKET_BYTES
from weights.receipts import WeightReceipt
from weights.transports.cuda_handle import plain_handle
from weights.transports.exchange import Step


class BucketSource(WeightSource):
    """The buckets of an update, each copied to `device` when its turn comes."""

    def __init__(self, update: WeightUpdate, device: str) -> None:
        self.update, self._device = update, device

    def metadata(self) -> list[ParamMeta]:
        """Number, type and size of each bucket."""
        return [ParamMeta(str(k), torch.uint8, (len(bucket),)) for k, bucket in enumerate(self.update.buckets)]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        for number, bucket in enumerate(self.update.buckets):
            yield str(number), torch.tensor(bucket, device=self._device)

    @property
    def largest(self) -> int:
        """Bytes of the largest bucket."""
        return max(len(bucket) for bucket in self.update.buckets)


class ReplicaCalls(VLLMWeightSyncClient):
    """What vLLM's trainer engine calls, as calls to the replicas; each of them has a deadline.

    Args:
        transfer: `serving.client.VlmClient.transfer`, or what does the same.
        ranks: by replica, the rank of its first GPU in the sender's group.

    Attributes:
        manifest: of the update that is sent next.
        failed: gets the first error of a call, which may come while the trainer engine waits on the GPU.
        receipts: of the last update, by replica.
    """

    def __init__(self, transfer: Callable[[Step, Mapping[str, Any]], dict[str, Any]], ranks: Mapping[str, int]) -> None:
        self._transfer, self._ranks = transfer, dict(ranks)
        self.manifest: Manifest | None = None
        self.failed: Future[None] = Future()
        self.receipts: dict[str, WeightReceipt] = {}

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """vLLM counts ranks from the same offset in every engine; each replica is an engine of its own."""
        if "rank_offset" not in init_info:
            self._call("join", dict.fromkeys(self._ranks, init_info))
        else:
            self._call("join", {name: {**init_info, "rank_offset": rank} for name, rank in self._ranks.items()})

    def start_weight_update(self) -> None:
        """Let every replica make ready: no bucket is sent before all are."""
        self.receipts = {}
        self._call("begin", dict.fromkeys(self._ranks, self.manifest))

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Let every replica receive these buckets; returns when all have loaded them."""
        manifest = self.manifest
        assert manifest is not None, "it is set before anything is sent"
        numbers = {int(name) for name in update_info["names"]}
        message = {key: value for key, value in update_info.items() if value is not None}
        if "ipc_handles" in message:
            message["ipc_handles"] = {gpu: plain_handle(handle) for gpu, handle in message["ipc_handles"].items()}
        message |= {
            "policy": manifest.policy,
            "version": manifest.version,
            "tensors": [asdict(spec) for spec in manifest.tensors if spec.bucket in numbers],
        }
        self._call("take", dict.fromkeys(self._ranks, message))

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Let every replica prove what it holds, and serve it."""
        self.receipts = self._call("finish", dict.fromkeys(self._ranks))

    def _call(self, step: Step, arguments: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return self._transfer(step, arguments)
        except BaseException as error:
            if not self.failed.done():
                self.failed.set_exception(error)
            raise


def nccl_trainer(
    calls: ReplicaCalls, source: BucketSource, host: str, port: int, world_size: int
) -> TrainerWeightTransferEngine:
    """The sender of a group of itself (rank 0) and all GPUs of all replicas; they meet at `host`:`port`."""
    info = NCCLTrainerInitInfo(
        master_address=host,
        master_port=port,
        world_size=world_size,
        packed=True,
        packed_buffer_size_bytes=BUCKET_BYTES,
        rank=0,
    )
    return WeightTransferTrainerFactory.trainer_init(info, client=calls, source=source)


def ipc_trainer(calls: ReplicaCalls, source: BucketSource) -> TrainerWeightTransferEngine:
    """The sender to one replica on the current CUDA device. Its buffer there has room for the largest bucket."""
    size = max(BUCKET_BYTES, source.largest)
    info = IPCTrainerInitInfo(packed=True, packed_buffer_size_bytes=size, rank=0)
    return WeightTransferTrainerFactory.trainer_init(info, client=calls, source=source)
