"""A cluster of two nodes on this machine, of which the second can be lost as a whole, as a spot instance is."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import psutil
from ray.cluster_utils import Cluster

from actors.preloaded.variable import variable
from experiments.faults.processes import bearing, end_all, family, title
from experiments.faults.watched_run import TITLES
from presets.errors import RunFailed

_CPUS = 4.0  # of each node; a run of the small models needs more than one node has
STORE_BYTES = 512 << 20
_REGISTERED_S = 60.0
_MARK = "RLRIG_TWO_NODES"  # every process of the nodes inherits it, also one whose raylet is gone


class TwoNodes:
    """Ray's own cluster of several raylets. Used as a context manager it leaves no process behind.

    Attributes:
        address: what a run joins it by.
    """

    def __init__(self) -> None:
        options = {"num_cpus": _CPUS, "object_store_memory": STORE_BYTES}
        self._mark = uuid.uuid4().hex
        with variable(_MARK, self._mark):
            self._cluster = Cluster(initialize_head=True, head_node_args={**options, "include_dashboard": False})
            self._options = options
            self._nodes = [self._cluster.add_node(**options)]
        self._cluster.wait_for_nodes(_REGISTERED_S)
        self.address: str = self._cluster.address

    def second(self) -> list[psutil.Process]:
        """Every process of the second node: what Ray started for it, and the workers that these started.

        Raises:
            RunFailed: no part of a run is among them, so that losing the node would show nothing.
        """
        found = _processes_of(self._nodes[:1])
        if not any(_is_part(process) for process in found):
            raise RunFailed("no part of the run is on the second node; give the first one fewer CPUs")
        return found

    def replace(self) -> None:
        """A node like the second one comes, as an autoscaler would bring it."""
        with variable(_MARK, self._mark):
            self._nodes.append(self._cluster.add_node(wait=False, **self._options))

    def take_out(self) -> None:
        """End what is left of the second node, as whoever looks after a cluster does with a node that Ray takes for
        alive, but on which nothing can start."""
        end_all(lambda: _processes_of(self._nodes[:1]))

    def parts(self) -> list[psutil.Process]:
        """The processes of a run that are there, on any node."""
        return [process for process in _processes_of([self._cluster.head_node, *self._nodes]) if _is_part(process)]

    def close(self) -> None:
        """End every process of every node, those that are stopped included.

        Raises:
            RunFailed: some do not end.
        """
        try:
            end_all(lambda: bearing(_MARK, self._mark))
        finally:
            self._cluster.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _processes_of(nodes: Iterable[Any]) -> list[psutil.Process]:
    """What Ray started for these nodes, and everything that this started."""
    found = []
    for node in nodes:
        for started in (one for kind in node.all_processes.values() for one in kind):
            found += family(started.process.pid)
    return found


def _is_part(process: psutil.Process) -> bool:
    return title(process).startswith(tuple(TITLES.values()))
