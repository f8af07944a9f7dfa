"""What vLLM's weight-transfer backends have in common here: buckets go in, proof of what was loaded comes out.

`register` is an entry point of the group `vllm.general_plugins`, so every process of vLLM knows the backends. The
backend `object_store` takes buckets that come with the calls; the other two, in files of their own, receive them over
vLLM's own transports. All of them also take buckets that come with the calls, because a replica that starts late gets
its weights from a `WeightBoard`. The reload module is imported where it is used: it loads most of vLLM, which a process
that only registers the backends does not need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from vllm.distributed.weight_transfer import WeightTransferEngineFactory
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)

from actors.gpu import gpu_uuid, peak_gpu_bytes
from serving.receiving.adapter_slot import AdapterSlot
from serving.receiving.copy_watch import CopyWatch
from weights.manifest import Manifest, TensorSpec, WeightUpdate, unpack

_BACKENDS = {  # our name → module and class; vLLM has a `nccl` and an `ipc` of its own
    "object_store": (__name__, "ObjectStoreReceiver"),
    "proven_nccl": ("serving.receiving.nccl", "NcclReceiver"),
    "proven_ipc": ("serving.receiving.ipc", "IpcReceiver"),
}


def register() -> None:
    """Make the backends known to vLLM; called once in each of its processes."""
    for name, (module, receiver) in _BACKENDS.items():
        with suppress(ValueError):  # it is registered already
            WeightTransferEngineFactory.register_engine(name, module, receiver)


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


class _Buckets:
    """Stands where vLLM's receivers have the model: what they receive are buckets, named by their number."""

    def __init__(self, load: Callable[[int, torch.Tensor], None]) -> None:
        self._load = load

    def load_weights(self, buckets: list[tuple[str, torch.Tensor]]) -> None:
        for number, content in buckets:
            self._load(int(number), content)


class _Loading(Protocol):
    """A model of vLLM."""

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> Any:
        """Put these tensors into its parameters."""


class ProvenReceiver(WeightTransferEngine):
    """Put before a vLLM receiver: it checks and watches what that receives, and keeps a report for `WeightReports`.

    The update info of the receiver must say, besides what vLLM needs, `policy`, `version` and `tensors` (see `Bucket`).
    """

    model: Any  # vLLM's, or `_Buckets` while its receiver works
    device: torch.device

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.watch = CopyWatch()
        self.report: dict[str, Any] = {}

    def parse_update_info(self, update_dict: dict[str, Any]) -> WeightTransferUpdateInfo:
        """A bucket that comes with the call, or what the receiver itself understands."""
        return Bucket(**update_dict) if "content" in update_dict else super().parse_update_info(update_dict)

    def start_weight_update(self) -> None:
        """Put the model's layers back into the form that checkpoints are loaded into."""
        self.watch = CopyWatch()
        self.report = {"fingerprint_before": fingerprint(self.model)}
        super().start_weight_update()

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """As in the base class; a CPU has no stream to wait for."""
        self.receive_weights(self.parse_update_info(update_info))
        if self.device.type != "cpu":
            torch.accelerator.synchronize()

    def receive_weights(self, update_info: Any) -> None:
        """Receive buckets, check them against their checksums and load their tensors.

        Raises:
            WeightMismatch: a bucket that is too short, or bytes that differ from their checksum.
            ValueError: a name that the model does not have (raised by vLLM).
        """
        model = self.model
        if isinstance(update_info, Bucket):
            self._load(model, update_info, 0, np.frombuffer(update_info.content, np.uint8))
            return
        self.model = _Buckets(lambda number, content: self._load(model, update_info, number, content))
        try:
            super().receive_weights(update_info)
        finally:
            self.model = model

    def _load(self, model: _Loading, update_info: Any, number: int, content: np.ndarray | torch.Tensor) -> None:
        found = [{**t, "shape": tuple(t["shape"]), "bucket": 0} for t in update_info.tensors if t["bucket"] == number]
        manifest = Manifest(update_info.policy, update_info.version, tuple(TensorSpec(**t) for t in found))
        tensors = list(unpack(WeightUpdate(manifest, [content])))
        for name, tensor in tensors:
            self.watch.expect(name, tensor)
        with self.watch:
            model.load_weights(iter(tensors))

    def finish_weight_update(self) -> None:
        """Pack what was loaded and write the report."""
        with self.watch:
            super().finish_weight_update()
        self.report |= {"fingerprint": fingerprint(self.model), "checksums": self.watch.checksums}
        self.watch = CopyWatch()


class _LayerwiseReload(WeightTransferEngine[ReceiverInit, Bucket]):
    """vLLM's layerwise reload around an update, as its own nccl and ipc receivers do it."""

    init_info_cls = ReceiverInit
    update_info_cls = Bucket

    def init_transfer_engine(self, init_info: ReceiverInit) -> None:
        """Nothing to set up."""

    def start_weight_update(self) -> None:
        """Put the model's layers back into the form that checkpoints are loaded into."""
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        initialize_layerwise_reload(self.model)

    def finish_weight_update(self) -> None:
        """Pack what was loaded."""
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        finalize_layerwise_reload(self.model, self.model_config)

    def shutdown(self) -> None:
        """No connection to close."""


class ObjectStoreReceiver(ProvenReceiver, _LayerwiseReload):
    """Loads the buckets that come with the calls."""


class WeightReports(AdapterSlot):
    """What vLLM's worker can be asked beyond its own methods (`worker_extension_cls`)."""

    weight_transfer_engine: ProvenReceiver

    def weight_report(self) -> dict[str, Any]:
        """Checksums of the last update by manifest name, and the model's fingerprint before and after it."""
        return self.weight_transfer_engine.report

    def gpu_uuid(self) -> str | None:
        """The GPU that holds the model, as NVIDIA names it on every host; None on a CPU."""
        return gpu_uuid(self.weight_transfer_engine.device)

    def peak_gpu_bytes(self) -> int:
        """See `actors.gpu`."""
        return peak_gpu_bytes()


@torch.no_grad()
def fingerprint(model: torch.nn.Module) -> list[float]:
    """Numbers that change with the parameters as the engine holds them, packed layers included.

    Two sums for each plain parameter; for a packed linear layer, of its output for one fixed input.
    """
    numbers = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            values: torch.Tensor = parameter
            if name == "weight" and parameter.numel() == 0 and hasattr(module, "cpu_linear"):
                packed: Any = module
                width = getattr(packed, "input_size_per_partition", packed.input_size)
                probe = torch.linspace(0.5, 1.5, width, dtype=parameter.dtype)[None]
                values = packed.cpu_linear(probe, parameter, None)
            if values.is_floating_point() and values.numel():
                numbers += [values.sum(dtype=torch.float64).item(), values.double().square().sum().item()]
    return numbers
