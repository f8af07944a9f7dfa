"""The transport of vLLM's own weight transfer, `nccl` or `ipc`, to the Actor's replicas (not run on a GPU).

A process of its own holds vLLM's trainer engine, which calls the replicas and sends at the same time. It takes the
buckets from the object store of its node. With `nccl` it has a share of a GPU on which no replica is, as NCCL wants,
and sends to all replicas at once; with `ipc` it is on the replicas' node, and shares a buffer with one after the other
on that one's GPU. When either side fails, the sender is ended and the replicas that waited for it are told so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from weights.manifest import WeightMismatch, WeightUpdate, fetch_whole
from weights.receipts import WeightReceipt
from weights.transports.exchange import Address
from weights.transports.transport import Served, TransportUnusable, from_the_object_store

if TYPE_CHECKING:
    from vllm.distributed.weight_transfer.base import TrainerWeightTransferEngine

    from weights.transports.vllm_trainer import BucketSource, ReplicaCalls

_GRACE_S = 10.0
_REMEDY = "set sync.actor=object_store"


@dataclass(frozen=True)
class Link:
    """A trainer engine, what it calls and sends, and the number of the CUDA device that it works on."""

    trainer: TrainerWeightTransferEngine
    calls: ReplicaCalls
    source: BucketSource
    device: int | None = None


class Sender:
    """The process that sends.

    Args:
        name: `nccl` or `ipc`.
        vlm: the replicas.
    """

    def __init__(self, name: str, vlm: Served) -> None:
        torch.set_num_threads(1)
        self._name, self._vlm = name, vlm
        self._limit_s = 4 * vlm.settings.call_deadline_s + _GRACE_S  # the replicas' deadlines come first
        self._addresses: list[Address] = []
        self._links: list[Link] = []

    def __repr__(self) -> str:
        return f"WeightSender-actor-{self._name}"  # in Ray's dashboard and logs

    def ready(self, addresses: Sequence[Address]) -> None:
        """Look at the GPUs of this process.

        Raises:
            TransportUnusable: it sees none, or with `ipc` not those of the replicas.
        """
        if not torch.cuda.is_available():
            raise TransportUnusable(f"sync.actor: {self._name!r} is refused: its sender sees no GPU; {_REMEDY}")
        if self._name == "ipc":
            for address in addresses:
                self._device(address)

    def deliver(self, update: WeightUpdate, addresses: Sequence[Address]) -> list[WeightReceipt]:
        """Send an update to these replicas; the group of senders and receivers is made anew where they changed.

        Raises:
            WeightMismatch: a replica refuses the weights.
            TimeoutError: neither this side nor a replica got on within the deadline.
            Exception: what a replica raised, at once.
        """
        update = fetch_whole(update, self._vlm.settings.call_deadline_s)
        where = f"policy {update.manifest.policy!r} version {update.manifest.version}, {self._name}"
        if self._addresses != list(addresses):
            self._addresses = []
            for link in self._links:
                link.trainer.shutdown()
            self._links = self.connect(update, addresses)
            self._addresses = list(addresses)
        receipts: list[WeightReceipt] = []
        for link in self._links:
            link.source.update, link.calls.manifest = update, update.manifest
            self.run(link.trainer.send_weights, link.calls, link.device, where)
            receipts += link.calls.receipts.values()
        return receipts

    def connect(self, update: WeightUpdate, addresses: Sequence[Address]) -> list[Link]:
        """Meet the replicas. Raises as `deliver`."""
        from vllm.utils.network_utils import get_open_port

        from weights.transports.vllm_trainer import BucketSource, ReplicaCalls, ipc_trainer, nccl_trainer

        source = BucketSource(update, "cuda")
        if self._name == "nccl":
            first = list(accumulate((len(address.gpus) for address in addresses), initial=1))
            calls = ReplicaCalls(
                self._vlm.transfer, dict(zip((address.replica for address in addresses), first, strict=False))
            )
            place = ray.util.get_node_ip_address(), get_open_port()
            trainer = self.run(lambda: nccl_trainer(calls, source, *place, first[-1]), calls, None, "group of nccl")
            return [Link(trainer, calls, source)]
        links = []
        for address in addresses:
            calls, device = ReplicaCalls(self._vlm.transfer, {address.replica: 0}), self._device(address)
            trainer = self.run(partial(ipc_trainer, calls, source), calls, device, f"ipc to {address.replica}")
            links.append(Link(trainer, calls, source, device))
        return links

    def run(self, work: Callable[[], Any], calls: ReplicaCalls, device: int | None, where: str) -> Any:
        """Do what may wait on the GPU for replicas, in a thread that is left alone when a replica fails meanwhile.
        After an error this process is of no use any more.

        Raises:
            TimeoutError: it was not done in time.
            Exception: what a call to the replicas raised, or the work itself.
        """

        def on_device() -> Any:
            if device is not None:
                torch.cuda.set_device(device)
            return work()

        threads = ThreadPoolExecutor(1)
        done = threads.submit(on_device)
        finished, _ = wait({done, calls.failed}, self._limit_s, FIRST_COMPLETED)
        threads.shutdown(wait=False)
        if calls.failed in finished and (error := calls.failed.exception()) is not None:
            raise error
        if done not in finished:
            raise TimeoutError(f"{where}: the sender was not done within {self._limit_s:g} s")
        return done.result()

    def _device(self, address: Address) -> int:
        found = {str(torch.cuda.get_device_properties(k).uuid): k for k in range(torch.cuda.device_count())}
        if address.gpus[0] not in found:
            raise TransportUnusable(
                f"sync.actor: 'ipc' is refused: the sender does not see GPU {address.gpus[0]} of {address.replica}, "
                f"only {sorted(found)}; start Ray on that node with all GPUs visible, or {_REMEDY}"
            )
        return found[address.gpus[0]]


class VllmTransfer:
    """Sends updates to the replicas of a VLM.

    Args:
        vlm: the replicas.
        name: `nccl` or `ipc`.
        sender_gpus: the share of a GPU that the sender of `nccl` has.
        sender: the class of the sender.
    """

    def __init__(
        self, vlm: Served, name: Literal["nccl", "ipc"], sender_gpus: float, sender: type[Sender] = Sender
    ) -> None:
        self._vlm, self._name, self._sender_gpus, self._kind = vlm, name, sender_gpus, sender
        self._sender: ray.actor.ActorHandle | None = None
        self._node: str | None = None

    def start(self) -> None:
        """See `Transport`.

        Raises:
            TransportUnusable: with `ipc`, replicas on several nodes or with several GPUs; or no GPU for the sender.
        """
        addresses = self._vlm.addresses()
        self._ready(addresses)

    def deliver(self, update: WeightUpdate) -> list[WeightReceipt]:
        """See `Transport`.

        Raises:
            TransportUnusable: as `start`.
            WeightMismatch: a replica refuses the weights.
            VlmError: replicas were lost and not replaced.
        """
        addresses: list[Address] = []
        try:
            addresses = self._vlm.addresses()
            self._ready(addresses)
            limit_s = (1 + 2 * len(addresses)) * (4 * self._vlm.settings.call_deadline_s + _GRACE_S)
            assert self._sender is not None, "`_ready` starts it"
            receipts: list[WeightReceipt] = ray.get(self._sender.deliver.remote(update, addresses), timeout=limit_s)
            return receipts
        except (TransportUnusable, WeightMismatch) as error:
            self._give_up(addresses, error)
            raise
        except (RuntimeError, TimeoutError, ray.exceptions.RayError) as error:  # a process was lost, or hangs
            self._give_up(addresses, error)
            return from_the_object_store(self._vlm, update, error)

    def close(self) -> None:
        """End the sender."""
        if self._sender is not None:
            ray.kill(self._sender)
            self._sender = None

    def _ready(self, addresses: Sequence[Address]) -> None:
        options: dict[str, Any] = {"num_cpus": 0, "max_restarts": 0}
        if self._name == "ipc":
            node = self._node_of(addresses)
            if node != self._node:
                self.close()
            self._node = node
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=False)
        else:
            options["num_gpus"] = self._sender_gpus
        if self._sender is None:
            self._sender = ray.remote(self._kind).options(**options).remote(self._name, self._vlm)
        deadline_s = self._vlm.settings.start_deadline_s
        try:
            ray.get(self._sender.ready.remote(addresses), timeout=deadline_s)
        except TransportUnusable:
            self.close()
            raise
        except ray.exceptions.GetTimeoutError as error:
            self.close()
            raise TransportUnusable(
                f"sync.actor: {self._name!r} is refused: its sender, which needs {options.get('num_gpus', 0):g} GPU "
                f"beside those of the replicas, did not start within {deadline_s:g} s; lower sync.sender_gpus or "
                f"vlm.actor.replicas, or {_REMEDY}"
            ) from error

    def _node_of(self, addresses: Sequence[Address]) -> str:
        nodes = sorted({address.node for address in addresses})
        if len(nodes) > 1:
            where = ", ".join(f"{address.replica} on {address.node}" for address in addresses)
            raise TransportUnusable(
                f"sync.actor: 'ipc' is refused: memory is shared within one node, and the replicas are on "
                f"{len(nodes)} ({where}); set sync.actor=nccl, or {_REMEDY}"
            )
        if several := next((address for address in addresses if len(address.gpus) != 1), None):
            raise TransportUnusable(
                f"sync.actor: 'ipc' is refused: {several.replica} has {len(several.gpus)} GPUs, and it shares memory "
                f"of one; set vlm.actor.gpus=1, or sync.actor=nccl, or {_REMEDY}"
            )
        return nodes[0]

    def _give_up(self, addresses: Sequence[Address], error: Exception) -> None:
        """End the sender, and the waits of replicas for it."""
        self.close()
        if addresses:
            try:
                self._vlm.transfer("abandon", {address.replica: f"its sender failed: {error}" for address in addresses})
            except (RuntimeError, TimeoutError, ray.exceptions.RayError) as lost:
                # A replica that is lost waits for nothing; whether it is replaced is seen when it is asked next.
                logging.getLogger(__name__).warning("a replica did not hear that its update was given up: %s", lost)
