"""One update over torch.distributed: its sender and its receivers meet in a store, then the buckets are broadcast.

A group lives for one update, so replicas may come and go between two of them. All that happens before and after the
broadcasts goes through the store: who has come, who is done, and what went wrong, which ends every wait.
With the backend `nccl` the tensors are on GPUs (not run on a GPU), with `gloo` in ordinary memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import torch
from torch.distributed import PrefixStore, TCPStore

from weights.manifest import Manifest, WeightUpdate, fetch_whole
from weights.transports.transport import TransferFailed

_POLL_S = 0.005
_FAILED, _START = "failed", "start"


@dataclass(frozen=True)
class Offer:
    """What a replica needs to receive an update: what will come (`sizes` of the buckets in bytes), and from where."""

    manifest: Manifest
    sizes: tuple[int, ...]
    backend: str
    host: str
    port: int
    receivers: tuple[str, ...]
    deadline_s: float


class _Meeting:
    """One side's view of the store. `where` begins every error."""

    def __init__(self, offer: Offer, store: TCPStore, where: str, ends: float) -> None:
        self._offer, self._store, self._where, self._ends = offer, store, where, ends

    def say(self, key: str) -> None:
        """Set a key."""
        self._store.set(key, "1")

    def fail(self, reason: str) -> None:
        """End the waits of all others, unless something else has."""
        self._store.compare_set(_FAILED, "", reason)

    def wait(self, done: Callable[[], bool], what: Callable[[], str]) -> None:
        """Poll until something is done.

        Raises:
            TransferFailed: another side failed, or the deadline passed, in which case the message says `what`.
        """
        while not done():
            if self._store.check([_FAILED]):
                raise TransferFailed(f"{self._where}: {self._store.get(_FAILED).decode()}")
            if time.monotonic() > self._ends:
                raise TransferFailed(f"{self._where}: {what()} within {self._offer.deadline_s:g} s")
            time.sleep(_POLL_S)

    def pass_on(self, rank: int, buckets: Iterable[torch.Tensor]) -> None:
        """Broadcast the buckets from rank 0 to all."""
        offer = self._offer
        left = timedelta(seconds=max(1.0, self._ends - time.monotonic()))
        # A connection of its own: a call that waits for the other ranks would hold back those that poll.
        own = TCPStore(offer.host, offer.port, is_master=False, timeout=left)
        torch.distributed.init_process_group(
            offer.backend, store=PrefixStore("group", own), rank=rank, world_size=len(offer.receivers) + 1, timeout=left
        )
        world = torch.distributed.group.WORLD
        assert world is not None, "it was made just now"
        try:
            for number, bucket in enumerate(buckets):
                work = torch.distributed.broadcast(bucket, src=0, async_op=True)
                self.wait(work.is_completed, partial("bucket {} of {} did not pass".format, number, len(offer.sizes)))
                work.wait()
        except BaseException:
            world.abort()  # what is pending would hold up the end of the group
            raise
        finally:
            torch.distributed.destroy_process_group()


class GroupSender:
    """The sending side of one update.

    Args:
        update: with buckets in local memory or in the object store.
        receivers: the names of all replicas that will receive it.
        backend: of torch.distributed.
        host: address of this process for the receivers.
        deadline_s: seconds until the whole transfer counts as failed.

    Raises:
        TimeoutError: see `weights.manifest.fetch`.
    """

    def __init__(
        self, update: WeightUpdate, receivers: Sequence[str], backend: str, host: str, deadline_s: float
    ) -> None:
        self._buckets = fetch_whole(update, deadline_s).buckets
        timeout = timedelta(seconds=deadline_s)
        self._store = TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=timeout)
        sizes = tuple(len(bucket) for bucket in self._buckets)
        port = self._store.port
        self.offer = Offer(update.manifest, sizes, backend, host, port, tuple(receivers), deadline_s)
        self._where = f"sender of policy {update.manifest.policy!r} version {update.manifest.version}"
        self._meeting = _Meeting(self.offer, self._store, self._where, time.monotonic() + deadline_s)

    def send(self) -> None:
        """Wait for all receivers, send, and wait until all have everything.

        Raises:
            TransferFailed: a receiver did not come, or failed, or the deadline passed.
        """
        try:
            self._wait_for_all("joined", "did not come")
            self._meeting.say(_START)
            device = _device(self.offer.backend)
            self._meeting.pass_on(0, (torch.tensor(bucket, device=device) for bucket in self._buckets))
            self._wait_for_all("done", "did not receive everything")
        except Exception as error:
            self._meeting.fail(str(error))
            if isinstance(error, TransferFailed):
                raise
            raise TransferFailed(
                f"{self._where}: {self._without('done')} did not receive everything: {error}"
            ) from error

    def abandon(self, reason: str) -> None:
        """End every wait of both sides; another thread than that of `send` may call it."""
        self._meeting.fail(reason)

    def _wait_for_all(self, key: str, lack: str) -> None:
        self._meeting.wait(lambda: not self._without(key), lambda: f"{self._without(key)} {lack}")

    def _without(self, key: str) -> list[str]:
        """The receivers that have not said this."""
        return [name for name in self.offer.receivers if not self._store.check([f"{key}/{name}"])]


def receive(offer: Offer, replica: str) -> WeightUpdate:
    """The update that is offered, its buckets in local memory; nothing of it is checked yet.

    Raises:
        TransferFailed: the sender or another receiver failed, or the deadline passed.
    """
    where = f"replica {replica!r}, policy {offer.manifest.policy!r} version {offer.manifest.version}"
    ends = time.monotonic() + offer.deadline_s
    if replica not in offer.receivers:
        raise TransferFailed(f"{where}: its sender expects {list(offer.receivers)}")
    try:
        store = TCPStore(offer.host, offer.port, is_master=False, timeout=timedelta(seconds=offer.deadline_s))
        meeting = _Meeting(offer, store, where, ends)
        if store.add(f"joined/{replica}", 1) > 1:
            raise TransferFailed(f"{where}: it was there before and has been started again since")
        try:
            meeting.wait(lambda: store.check([_START]), lambda: "its sender did not begin")
            device = _device(offer.backend)
            buckets = [torch.zeros(size, dtype=torch.uint8, device=device) for size in offer.sizes]
            meeting.pass_on(offer.receivers.index(replica) + 1, buckets)
        except Exception as error:
            meeting.fail(str(error))
            raise
        meeting.say(f"done/{replica}")
    except RuntimeError as error:  # torch.distributed's errors are all of this kind
        if isinstance(error, TransferFailed):
            raise
        raise TransferFailed(f"{where}: it lost its sender or another receiver: {error}") from error
    return WeightUpdate(offer.manifest, [bucket.cpu().numpy() for bucket in buckets])


def _device(backend: str) -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if backend == "nccl" else torch.device("cpu")
