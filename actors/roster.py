"""Who belongs to a fleet: its replicas by name, those that left because they were lost, and how one more is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.util import get_current_placement_group

from actors.site import Site


class Roster:
    """Members come and go by `join` and `leave` alone, in the process that started them. A copy in another process
    keeps those that there were when it was sent, but for the ones that it loses itself.

    Attributes:
        handles: the members, in the order in which they joined.
        expelled: members that were lost and left, by name, until someone takes them out; Ray starts them again.
        replaced: members that this copy saw being started again, or leave because they were lost.
    """

    def __init__(self, handles: Mapping[str, ActorHandle]) -> None:
        self.handles = dict(handles)
        self.expelled: dict[str, ActorHandle] = {}
        self.replaced = 0
        self.closed = False  # who waits for a replica to come back waits no longer
        self._sites: dict[str, Site] = {}
        self._make: Callable[[int], tuple[str, ActorHandle]] | None = None
        self._made = len(self.handles)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_make": None, "expelled": {}}

    def __len__(self) -> int:
        return len(self.handles)

    @property
    def names(self) -> list[str]:
        """Names of the members, which are also those in their receipts if `Fleet.start` made them."""
        return list(self.handles)

    def start_another(self) -> tuple[str, ActorHandle]:
        """Ask Ray for one more replica, which is no member before `join`; its name and its handle, without waiting. Its
        constructor runs when a node has room.

        Raises:
            RuntimeError: this copy does not know how; `Fleet.start` does, in its process.
        """
        if self._make is None:
            raise RuntimeError("these replicas were not started here, so that nothing says how another one is made")
        self._made += 1
        return self._make(self._made - 1)

    def know(self, name: str, site: Site) -> None:
        """Where a replica is, for what errors say."""
        self._sites[name] = site

    def join(self, name: str, handle: ActorHandle) -> None:
        """A replica that has loaded takes part in calls from now on, also in those of copies that are sent later."""
        self.handles[name] = handle

    def leave(self, name: str) -> ActorHandle:
        """A replica takes no part in calls from now on; copies in other processes may still call it.

        Raises:
            ValueError: it is the last one.
        """
        if self.names == [name]:
            raise ValueError(f"{self._label(name)} is the fleet's last replica; close the fleet instead")
        self._sites.pop(name, None)
        return self.handles.pop(name)

    def expel(self, name: str) -> None:
        """A member that was lost leaves.

        Raises:
            ValueError: it is the last one.
        """
        self.expelled[name] = self.leave(name)
        self.replaced += 1

    def close(self) -> None:
        """Kill all replicas."""
        self.closed = True
        for handle in (*self.handles.values(), *self.expelled.values()):
            ray.kill(handle)

    def _label(self, name: str) -> str:
        return f"{name} ({self._sites.get(name) or 'actor ' + self.handles[name]._actor_id.hex()[:12]})"


def maker(kind: type, options: Mapping[str, Any], arguments: Mapping[str, Any]) -> Callable[..., Any]:
    """What makes replica number n of a class: its name and its handle. One that is made after the others belongs to no
    placement group: Tune's holds those that a trial begins with."""
    later = {"scheduling_strategy": "DEFAULT"} if get_current_placement_group() else {}
    groups = getattr(kind, "concurrency_groups", None)  # which Ray takes with the class, not among its options
    actor: Any = ray.remote(concurrency_groups=groups)(kind) if groups else ray.remote(kind)

    def make(number: int, more: Mapping[str, Any] = later) -> tuple[str, ActorHandle]:
        name = f"{kind.__name__}-{number}"
        return name, actor.options(**options, **more).remote(replica=name, **arguments)

    return make
