"""vLLM's weight-transfer backend `object_store`: buckets go in, proof of what was loaded comes out.

`register` is an entry point of the group `vllm.general_plugins`, so every process of vLLM knows the backend.
On a CPU, vLLM packs linear layers and forgets the plain weight, and it merges q, k and v into one parameter. The
receiver therefore watches the copies of vLLM's own loader: right after a tensor was copied into a parameter, the
checksum is taken from the parameter's memory, under the name that the tensor had in the manifest. The reload module
is imported where it is used: it loads most of vLLM, which a process that only registers the backend does not need.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from vllm.distributed.weight_transfer import WeightTransferEngineFactory
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)

from learner.weights import Manifest, TensorSpec, WeightUpdate, tensor_checksum, unpack

BACKEND = "object_store"


def register() -> None:
    """Make the backend known to vLLM; called once in each of its processes."""
    with suppress(ValueError):  # it is registered already
        WeightTransferEngineFactory.register_engine(BACKEND, __name__, ObjectStoreReceiver.__name__)


@dataclass
class ReceiverInit(WeightTransferInitInfo):
    """Nothing needs to be agreed upon before the first update."""


@dataclass
class Bucket(WeightTransferUpdateInfo):
    """One bucket and the tensors in it; plain types only, because vLLM's message format keeps no others."""

    policy: str
    version: int
    tensors: list[dict[str, Any]]
    content: bytes


def bucket_messages(update: WeightUpdate) -> list[dict[str, Any]]:
    """One message for each bucket of an update whose buckets are in local memory."""
    messages = []
    for index, content in enumerate(update.buckets):
        tensors = [{**asdict(spec), "bucket": 0} for spec in update.manifest.tensors if spec.bucket == index]
        if tensors:
            manifest = update.manifest
            messages.append(asdict(Bucket(manifest.policy, manifest.version, tensors, np.asarray(content).tobytes())))
    return messages


class CopyWatch(TorchDispatchMode):
    """Takes the checksum of every parameter region right after a received tensor was copied into it."""

    def __init__(self) -> None:
        super().__init__()
        self.checksums: dict[str, str] = {}
        self._received: dict[int, tuple[str, torch.Tensor]] = {}

    def expect(self, name: str, tensor: torch.Tensor) -> None:
        """Watch for copies out of `tensor`, whose memory belongs to it alone."""
        self._received[tensor.untyped_storage().data_ptr()] = (name, tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.copy_.default and not args[0].is_meta and not args[1].is_meta:
            target, source = args[:2]
            if found := self._received.get(source.untyped_storage().data_ptr()):
                self._take(*found, target, source)
        return result

    def _take(self, name: str, tensor: torch.Tensor, target: torch.Tensor, source: torch.Tensor) -> None:
        if target.numel() == tensor.numel() and target.dtype == tensor.dtype:
            self.checksums[name] = tensor_checksum(target.reshape(tensor.shape))
        elif torch.equal(target, source.to(target.device, target.dtype)):
            # A tensor-parallel shard or another number format: the part that this worker holds equals what was sent.
            self.checksums[name] = tensor_checksum(tensor)


class ObjectStoreReceiver(WeightTransferEngine[ReceiverInit, Bucket]):
    """Loads buckets through vLLM's layerwise reload and keeps a report for `WeightReports`."""

    init_info_cls = ReceiverInit
    update_info_cls = Bucket

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.watch = CopyWatch()
        self.report: dict[str, Any] = {}

    def init_transfer_engine(self, init_info: ReceiverInit) -> None:
        """Nothing to set up: buckets come with the calls."""

    def start_weight_update(self) -> None:
        """Put the model's layers back into the form that checkpoints are loaded into."""
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        self.watch = CopyWatch()
        self.report = {"fingerprint_before": fingerprint(self.model)}
        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """As in the base class; a CPU has no stream to wait for."""
        self.receive_weights(self.parse_update_info(update_info))
        if self.device.type != "cpu":
            torch.accelerator.synchronize()

    def receive_weights(self, update_info: Bucket) -> None:
        """Check the bucket against its checksums and load its tensors.

        Raises:
            WeightMismatch: bytes that differ from their checksum.
            ValueError: a name that the model does not have (raised by vLLM).
        """
        specs = tuple(TensorSpec(**{**t, "shape": tuple(t["shape"])}) for t in update_info.tensors)
        manifest = Manifest(update_info.policy, update_info.version, specs)
        tensors = list(unpack(WeightUpdate(manifest, [np.frombuffer(update_info.content, np.uint8)])))
        for name, tensor in tensors:
            self.watch.expect(name, tensor)
        with self.watch:
            self.model.load_weights(iter(tensors))

    def finish_weight_update(self) -> None:
        """Pack what was loaded and write the report."""
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        with self.watch:
            finalize_layerwise_reload(self.model, self.model_config)
        self.report |= {"fingerprint": fingerprint(self.model), "checksums": self.watch.checksums}
        self.watch = CopyWatch()

    def shutdown(self) -> None:
        """No connection to close."""


class WeightReports:
    """What vLLM's worker can be asked beyond its own methods (`worker_extension_cls`)."""

    def weight_report(self) -> dict[str, Any]:
        """Checksums of the last update by manifest name, and the model's fingerprint before and after it."""
        return self.weight_transfer_engine.report


@torch.no_grad()
def fingerprint(model: torch.nn.Module) -> list[float]:
    """Numbers that change with the parameters as the engine holds them, packed layers included.

    Two sums for each plain parameter; for a packed linear layer, of its output for one fixed input.
    """
    numbers = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            values = parameter
            if name == "weight" and parameter.numel() == 0 and hasattr(module, "cpu_linear"):
                width = getattr(module, "input_size_per_partition", module.input_size)
                probe = torch.linspace(0.5, 1.5, width, dtype=parameter.dtype)[None]
                values = module.cpu_linear(probe, parameter, None)
            if values.is_floating_point() and values.numel():
                numbers += [values.sum(dtype=torch.float64).item(), values.double().square().sum().item()]
    return numbers
