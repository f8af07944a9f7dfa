"""A fleet: several Ray actors of one kind that share batches. No call can wait for ever."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError

from actors.edit import Edit
from actors.fleet_error import FleetError, ReplicaDied, ReplicaStarved, ReplicaTimeout, constructor_error
from actors.flow_path import FlowOde, FlowSde
from actors.roster import Roster, maker
from actors.site import end_of, lacks_memory, last_line

if TYPE_CHECKING:
    from weights.manifest import Manifest, WeightUpdate
    from weights.receipts import WeightReceipt

_RETRIES = 2
_POLL_S = 0.2
_ROWS_IN_A_DEADLINE = 16  # as many as a pipeline takes at a time


class Fleet(Roster):
    """Splits batches over the replicas and puts the answers together in the order of the batch.

    An error that a replica's own code raises keeps its type, with a note that names the replica; one that says that it
    got no memory is a FleetError. A Fleet can be sent to other processes; all of them use the same replicas.

    Args:
        handles: Ray actor handles, by replica name or as a list.
        deadline_s: seconds until a call without its own deadline fails; waiting behind other callers counts. A batch
            may take so long for every 16 rows of a replica.
        restart_s: seconds that Ray may take to start a replica again that died, or that is ended because it missed a
            deadline or got no memory; its calls are then made again. 0: the error is raised at once.

    Attributes:
        elastic: whether a replica that is lost leaves the fleet while another one is there, which then gets its rows;
            otherwise, and where it is the last one, it is waited for.
        compute_seconds: seconds that replicas worked on this handle's batches so far, without transfer and waiting; of
            those that share a batch the slowest counts.
    """

    def __init__(
        self,
        handles: Mapping[str, ActorHandle] | Sequence[ActorHandle],
        deadline_s: float = 300.0,
        restart_s: float = 0.0,
    ) -> None:
        if not handles:
            raise ValueError("handles is empty; a fleet needs at least one replica")
        if not isinstance(handles, Mapping):
            handles = {f"replica-{i}": handle for i, handle in enumerate(handles)}
        super().__init__(handles)
        self.deadline_s, self.restart_s = deadline_s, restart_s
        self.compute_seconds = 0.0
        self.elastic = False

    @classmethod
    def start(
        cls,
        kind: type,
        replicas: int,
        options: Mapping[str, Any] | None = None,
        deadline_s: float = 300.0,
        restart_s: float = 0.0,
        start_deadline_s: float = 300.0,
        **arguments: Any,
    ) -> Fleet:
        """Start `replicas` actors of class `kind` and return when all have loaded.

        Args:
            kind: a Replica, such as Diffuser or InverseDiffuser.
            replicas: how many.
            options: Ray actor options, such as num_cpus, max_restarts, resources.
            deadline_s: as in the constructor.
            restart_s: as in the constructor, once all have loaded.
            start_deadline_s: seconds until all must have loaded.
            arguments: constructor arguments; each replica gets its name as `replica`.

        Raises:
            FleetError: a replica did not start in time, or died; all are killed again.
        """
        make = maker(kind, options or {}, arguments)
        fleet = cls(dict(make(number, {}) for number in range(replicas)), deadline_s)
        fleet._make = make
        try:
            fleet._sites = fleet.broadcast("site", deadline_s=start_deadline_s)
        except BaseException:
            fleet.close()
            raise
        fleet.restart_s = restart_s
        return fleet

    def draw(
        self, prompts: Sequence[str], seeds: Sequence[int], steps: int | None = None, deadline_s: float | None = None
    ) -> list[np.ndarray]:
        """Diffuser.draw over the fleet."""
        return self.split_call("draw", [prompts, seeds], deadline_s, steps=steps)

    def edit(
        self,
        images: Sequence[np.ndarray],
        prompts: Sequence[str],
        seeds: Sequence[int],
        sde: FlowSde | FlowOde | None = None,
        steps: int | None = None,
        deadline_s: float | None = None,
    ) -> list[Edit]:
        """InverseDiffuser.edit over the fleet."""
        return self.split_call("edit", [images, prompts, seeds], deadline_s, sde=sde, steps=steps)

    def apply_weights(self, update: WeightUpdate) -> list[WeightReceipt]:
        """InverseDiffuser.apply_weights on every replica; one receipt from each."""
        return list(self.broadcast("apply_weights", update).values())

    def confirm_weights(self, manifest: Manifest) -> list[WeightReceipt]:
        """See `weights.transports.shared.Ranks`."""
        return list(self.broadcast("confirm_weights", manifest).values())

    def split_call(
        self, method: str, columns: Sequence[Sequence[Any]], deadline_s: float | None = None, **arguments: Any
    ) -> list[Any]:
        """Call `method` with a contiguous part of every column on each replica; answers in the order of the rows.

        Raises:
            ValueError: columns of different lengths.
            FleetError: a replica did not answer.
        """
        lengths = [len(column) for column in columns]
        if len(set(lengths)) != 1:
            raise ValueError(f"{method}: columns have lengths {lengths}; they must be equal")
        parts = split(lengths[0], len(self.handles))
        largest = max((part.stop - part.start for part in parts), default=0)
        limit_s = self._limit(deadline_s) * max(1, -(-largest // _ROWS_IN_A_DEADLINE))
        calls = {
            name: lambda handle, part=part: handle.timed.remote(method, *(c[part] for c in columns), **arguments)
            for name, part in zip(self.handles, parts, strict=False)
        }
        answers = self._gather(method, calls, limit_s, elsewhere=True).values()
        self.compute_seconds += max((seconds for _, seconds in answers), default=0.0)
        return [row for rows, _ in answers for row in rows]

    def broadcast(self, method: str, *arguments: Any, deadline_s: float | None = None) -> dict[str, Any]:
        """Call `method` with the same arguments on every replica: answers by replica name. One that is lost and leaves
        an elastic fleet has none.

        Raises:
            FleetError: a replica did not answer.
        """
        calls = {name: lambda handle: getattr(handle, method).remote(*arguments) for name in self.handles}
        return self._gather(method, calls, self._limit(deadline_s))

    def _limit(self, deadline_s: float | None) -> float:
        return self.deadline_s if deadline_s is None else deadline_s

    def _gather(
        self,
        method: str,
        calls: Mapping[str, Callable[[ActorHandle], ray.ObjectRef]],
        limit: float,
        elsewhere: bool = False,
    ) -> dict[str, Any]:
        """The answers of all calls, each named by the replica that it is for; a call that a replica loses is made again
        when the replica is back, or, where that leaves an elastic fleet, `elsewhere` if any replica may answer it."""
        where = {name: name for name in calls}
        answers, lost = self._collect(method, calls, where, limit)
        retries = max(_RETRIES, len(self.handles) if self.elastic else 0)  # it may lose one after the other
        for turn in range(retries if self.restart_s else 0):
            starved = any(isinstance(error, ReplicaStarved) for error in lost.values())
            if not lost or (turn and starved):  # memory that a new process does not get either is not there
                break
            where = self._after_loss({where[call]: error for call, error in lost.items()}, where, list(lost), elsewhere)
            at_once = max(Counter(where.values()).values(), default=1)  # a replica may take them one by one
            again, lost = self._collect(method, calls, where, at_once * limit)
            answers |= again
        for error in lost.values():
            raise error
        return {name: answers[name] for name in calls if name in answers}

    def _collect(
        self,
        method: str,
        calls: Mapping[str, Callable[[ActorHandle], ray.ObjectRef]],
        where: Mapping[str, str],
        limit: float,
    ) -> tuple[dict[str, Any], dict[str, FleetError]]:
        """Answers of the calls in `where` by name, each made on the replica that it says, and why the others gave none
        within `limit` seconds."""
        end = time.monotonic() + limit
        pending = {calls[call](self.handles[replica]): (call, replica) for call, replica in where.items()}
        answers: dict[str, Any] = {}
        lost: dict[str, FleetError] = {}
        while pending:
            ready, _ = ray.wait(list(pending), num_returns=1, timeout=max(0.0, end - time.monotonic()))
            if not ready:
                for call, replica in pending.values():
                    lost[call] = ReplicaTimeout(
                        f"{self._label(replica)}: no answer to {method} within {limit:g} s; raise the deadline if it "
                        "is only slow, otherwise kill the replica"
                    )
                break
            call, replica = pending.pop(ready[0])
            try:
                answers[call] = self._result(ready[0], replica, method)
            except FleetError as error:
                lost[call] = error
        return answers, lost

    def _after_loss(
        self, lost: Mapping[str, FleetError], where: Mapping[str, str], calls: Sequence[str], elsewhere: bool
    ) -> dict[str, str]:
        """Which replica makes each of the lost `calls` again, once that can be.

        Args:
            lost: why, by replica.
            where: the replica that each call was made on.

        Raises:
            FleetError: a replica of a fixed fleet did not come back, or the only ones of an elastic fleet did not.
        """
        others = [name for name in self.handles if name not in lost]
        if not (self.elastic and others):
            failed: dict[str, FleetError] = {}
            for name, error in lost.items():
                try:
                    self._bring_back(name, error)
                except FleetError as again:
                    failed[name] = again
                    if not self.elastic or len(failed) == len(lost):
                        raise
            lost, others = failed, [name for name in self.handles if name not in failed]
        for name, error in lost.items():
            if error.process_lives:
                ray.kill(self.handles[name], no_restart=False)
            self.expel(name)
        stay = {call: where[call] for call in calls if where[call] in self.handles}
        moved = [call for call in calls if call not in stay] if elsewhere else []
        return stay | {call: others[position % len(others)] for position, call in enumerate(moved)}

    def _result(self, ref: ray.ObjectRef, name: str, method: str) -> Any:
        try:
            return ray.get(ref, timeout=0)
        except RayTaskError as error:
            if lacks_memory(error.cause):
                raise ReplicaStarved(
                    f"{self._label(name)} could not get the memory that it needs for {method}: "
                    f"{last_line(error.cause)}; use a larger node or GPU, or lower the number of workers on it"
                ) from error
            error.add_note(f"raised by {method} of {self._label(name)}")
            raise
        except RayActorError as error:
            cause = constructor_error(error)
            raise ReplicaDied(f"{self._label(name)} died during {method}: {cause or end_of(error)}") from error
        except RayError as error:
            raise FleetError(f"{self._label(name)}: the answer to {method} was lost: {error}") from error

    def _bring_back(self, name: str, error: FleetError) -> None:
        """Wait until Ray has started a lost replica again, which is ended before if its process lives.

        Raises:
            FleetError: it is not back after `restart_s` seconds.
        """
        handle, end = self.handles[name], time.monotonic() + self.restart_s
        self.replaced += 1
        if error.process_lives:
            ray.kill(handle, no_restart=False)
        while not self.closed and (left := end - time.monotonic()) > 0:
            try:
                site = ray.get(handle.site.remote(), timeout=left)
                if not error.process_lives or site != self._sites.get(name):
                    self._sites[name] = site
                    return
                time.sleep(_POLL_S)  # the process that is being ended can still answer
            except RayActorError as again:
                if cause := constructor_error(again):
                    raise ReplicaDied(f"{self._label(name)} cannot start again: {cause}") from again
                time.sleep(_POLL_S)
            except GetTimeoutError:
                break
        raise FleetError(f"{self._label(name)} did not come back within {self.restart_s:g} s after: {error}") from error


def split(count: int, parts: int) -> list[slice]:
    """At most `parts` contiguous slices that cover `count` rows, none empty, lengths differing by at most 1."""
    used = min(count, parts)
    size, larger = divmod(count, used) if used else (0, 0)
    starts = [i * size + min(i, larger) for i in range(used + 1)]
    return [slice(a, b) for a, b in pairwise(starts)]
