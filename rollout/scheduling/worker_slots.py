"""Which workers have room for another group. Every operation costs the same whatever the number of workers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

W = TypeVar("W", bound=Hashable)


class WorkerSlots(Generic[W]):
    """Workers by the number of groups that they hold. `free` counts slots without a group."""

    def __init__(self) -> None:
        self.free = 0
        self._slots: dict[W, int] = {}
        self._tickets: dict[W, dict[int, None]] = {}
        self._closed: set[W] = set()
        self._by_load: list[OrderedDict[W, None]] = []  # workers with a free slot, by groups that they hold

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, worker: W, slots: int) -> None:
        """A worker that can hold `slots` groups at the same time, and holds none.

        Raises:
            ValueError: it is known already, or `slots` is less than 1.
        """
        if worker in self._slots:
            raise ValueError(f"worker {worker!r} is known already; remove it before it is added again")
        if slots < 1:
            raise ValueError(f"slots of worker {worker!r} is {slots}; give at least 1")
        self._slots[worker], self._tickets[worker] = slots, {}
        self.free += slots
        self._place(worker)

    def remove(self, worker: W) -> list[int]:
        """The worker is gone; the tickets that it held, in the order in which it got them.

        Raises:
            ValueError: there is no such worker.
        """
        if worker not in self._slots:
            raise ValueError(f"worker {worker!r} is not known; it was removed before, or never added")
        self._displace(worker)
        self._closed.discard(worker)
        tickets = list(self._tickets.pop(worker))
        self.free -= self._slots.pop(worker) - len(tickets)
        return tickets

    def close(self, worker: W) -> None:
        """Give a worker no more tickets; it keeps those that it holds until they leave, or it is removed.

        Raises:
            ValueError: there is no such worker.
        """
        if worker not in self._slots:
            raise ValueError(f"worker {worker!r} is not known; it was removed before, or never added")
        self._displace(worker)
        self.free -= self._slots[worker] - len(self._tickets[worker])
        self._slots[worker] = len(self._tickets[worker])
        self._closed.add(worker)

    def fill(self, ticket: int) -> W:
        """Give a ticket to a worker that holds the fewest, among those to the one that has waited longest.

        Raises:
            ValueError: no slot is free.
        """
        load = next((load for load, workers in enumerate(self._by_load) if workers), None)
        if load is None:
            raise ValueError(f"ticket {ticket}: none of {len(self)} workers has a free slot")
        worker, _ = self._by_load[load].popitem(last=False)
        self._tickets[worker][ticket] = None
        self.free -= 1
        self._place(worker)
        return worker

    def leave(self, worker: W, ticket: int) -> None:
        """A worker no longer holds this ticket.

        Raises:
            KeyError: it did not hold it.
        """
        self._displace(worker)
        del self._tickets[worker][ticket]
        if worker in self._closed:
            self._slots[worker] -= 1
        else:
            self.free += 1
        self._place(worker)

    def _place(self, worker: W) -> None:
        load = len(self._tickets[worker])
        if load < self._slots[worker]:
            while len(self._by_load) <= load:
                self._by_load.append(OrderedDict())
            self._by_load[load][worker] = None

    def _displace(self, worker: W) -> None:
        load = len(self._tickets[worker])
        if load < self._slots[worker]:
            del self._by_load[load][worker]
