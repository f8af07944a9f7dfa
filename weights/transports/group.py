"""The transport of torch.distributed, `nccl` or `gloo`, to the editor's replicas.

A process of its own sends, so that a hang of the communication library ends with that process. It takes the buckets
from the object store of its node; the broadcasts cross the network. With `nccl` it has a share of a GPU on which no
replica is, as NCCL wants (not run on a GPU).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import ray
import torch

from weights.manifest import WeightMismatch, WeightUpdate
from weights.receipts import WeightReceipt
from weights.transports.meeting import GroupSender, Offer
from weights.transports.transport import TransferFailed, TransportUnusable, Workers, from_the_object_store

_SENDER = "the sender"
_GRACE_S = 10.0  # the meeting's own deadline comes first and says more


class _Sender:
    """Holds the `GroupSender` of the update that is under way."""

    def __init__(self, backend: str) -> None:
        torch.set_num_threads(1)
        self._backend = backend

    def __repr__(self) -> str:
        return f"WeightSender-editor-{self._backend}"  # in Ray's dashboard and logs

    def ready(self) -> None:
        """It has started, and can send."""
        if self._backend == "nccl" and not torch.cuda.is_available():
            raise TransportUnusable(
                "sync.editor: 'nccl' is refused: its sender sees no GPU; give it one with sync.sender_gpus, or set "
                "sync.editor=object_store"
            )

    def open(self, update: WeightUpdate, receivers: Sequence[str], deadline_s: float) -> Offer:
        """Fetch an update, and open the place where its receivers come to."""
        self._group = GroupSender(update, receivers, self._backend, ray.util.get_node_ip_address(), deadline_s)
        return self._group.offer

    def send(self) -> None:
        """See `GroupSender.send`."""
        self._group.send()

    def abandon(self, reason: str) -> None:
        """See `GroupSender.abandon`."""
        self._group.abandon(reason)


class Group:
    """Sends updates to a fleet of editors.

    Args:
        workers: the replicas.
        backend: of torch.distributed, `nccl` or `gloo`.
        sender_gpus: the sender's share of a GPU; 0 for `gloo`.
        deadline_s: seconds until a transfer, or the start of the sender, counts as failed.
    """

    def __init__(self, workers: Workers, backend: str, sender_gpus: float, deadline_s: float) -> None:
        self._workers, self._backend, self._deadline_s = workers, backend, deadline_s
        self._gpus = sender_gpus
        self._sender: ray.actor.ActorHandle | None = None

    def start(self) -> None:
        """See `Transport`.

        Raises:
            TransportUnusable: no GPU is left for the sender, or it sees none.
        """
        if self._sender is not None:
            return
        options = {"num_cpus": 0, "num_gpus": self._gpus, "max_concurrency": 2, "max_restarts": 0}
        self._sender = ray.remote(_Sender).options(**options).remote(self._backend)
        try:
            ray.get(self._sender.ready.remote(), timeout=self._deadline_s)
        except TransportUnusable:
            self.close()
            raise
        except ray.exceptions.RayError as error:
            self.close()
            raise TransportUnusable(
                f"sync.editor: {self._backend!r} is refused: its sender, which needs {self._gpus:g} GPU beside those "
                f"of the replicas, did not start within {self._deadline_s:g} s ({error}); lower sync.sender_gpus or "
                "editor.workers, or set sync.editor=object_store"
            ) from error

    def deliver(self, update: WeightUpdate) -> list[WeightReceipt]:
        """See `Transport`.

        Raises:
            WeightMismatch: a replica refuses the weights.
            FleetError: a replica was lost, and took them from the object store neither.
        """
        try:
            self.start()
            return self._transfer(update)
        except WeightMismatch:
            self.close()
            raise
        except (ray.exceptions.RayError, TransferFailed, TimeoutError) as error:
            self.close()
            return from_the_object_store(self._workers, update, error)

    def close(self) -> None:
        """End the sender."""
        if self._sender is not None:
            ray.kill(self._sender)
            self._sender = None

    def _transfer(self, update: WeightUpdate) -> list[WeightReceipt]:
        manifest, sender, names = update.manifest, self._sender, self._workers.names
        assert sender is not None, "`deliver` starts it"
        ends = time.monotonic() + self._deadline_s + _GRACE_S
        offer = ray.get(sender.open.remote(update, names, self._deadline_s), timeout=self._deadline_s + _GRACE_S)
        calls = {handle.receive_weights.remote(offer): name for name, handle in self._workers.handles.items()}
        calls[sender.send.remote()] = _SENDER
        receipts: dict[str, WeightReceipt] = {}
        while calls:
            done, _ = ray.wait(list(calls), timeout=max(0.0, ends - time.monotonic()))
            if not done:
                raise TransferFailed(
                    f"policy {manifest.policy!r} version {manifest.version}: no answer of {sorted(calls.values())} "
                    f"within {self._deadline_s + _GRACE_S:g} s"
                )
            name = calls.pop(done[0])
            try:
                receipts[name] = ray.get(done[0], timeout=_GRACE_S)
            except ray.exceptions.RayError as error:
                ray.wait([sender.abandon.remote(f"{name} failed: {error}")], timeout=_GRACE_S)
                raise
        return [receipts[name] for name in names]
