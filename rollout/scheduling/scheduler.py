"""Which worker samples which prompt, and which groups an update trains on. Pure: events and times come in as arguments.

Every event costs the same whatever the number of workers, prompts and groups: all of it is queues and counters.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import astuple
from itertools import islice
from typing import Any, Generic

from rollout.scheduling.assignment import Assignment, Batch, Group, Outcome, Prompt, R, W
from rollout.scheduling.staleness import Backpressure
from rollout.scheduling.worker_slots import WorkerSlots


class Scheduler(Generic[W, R]):
    """Hands prompts 0, 1, 2, … to workers and puts complete groups together to batches.

    The driver calls `dispatch` after every event and sends what it returns; it tells `finished` and `failed` for each
    ticket, `remove_worker` for a worker that is gone, and asks `late` from time to time. When `ready`, it trains on
    `take_batch` and then tells `trained`. Every prompt ends in exactly one batch or is dropped exactly once: groups
    that fail, are late, or become too old give their prompt back, and it goes before new ones.

    *Order.* A batch takes the oldest behaviour version first, and among those the first complete first: taking a newer
    group before an older one would only make the older one useless. Within a batch groups are in the order of their
    prompts, so that with `max_staleness=0` a batch does not depend on timing at all.

    *Waiting.* An update begins as soon as a batch is complete, with one exception: a prompt that an update overtook
    once, because its group was slow, is waited for the second time, so that slow prompts are trained on too.

    Args:
        gate: the counters; the scheduler alone may change them from now on.
        deadline_s: seconds after which a running group is late.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(self, gate: Backpressure, *, deadline_s: float) -> None:
        if not deadline_s > 0:
            raise ValueError(f"deadline_s is {deadline_s}; give the seconds, above 0, that a group may take")
        self.gate, self.deadline_s = gate, deadline_s
        self._next_prompt = self._next_ticket = 0
        self._again: deque[Prompt] = deque()
        self._overtaken: list[Prompt] = []  # they start again with the next version, which leaves them the most time
        self._slots: WorkerSlots[W] = WorkerSlots()
        self._running: OrderedDict[int, Assignment[W]] = OrderedDict()  # by start, hence also by version
        self._revoked: dict[int, W] = {}  # tickets whose result is of no use and whose slot is not free yet
        self._complete: dict[int, deque[Group[R]]] = {}  # by version
        self._waited_for: dict[int, int] = {}  # running groups of overtaken prompts, by version
        self._training: list[Group[R]] = []
        self._unfinished: deque[int] = deque()  # prompts, from the first that has started and is not finished
        self._finished: set[int] = set()  # those among them that are finished nevertheless
        self._told: set[int] = set()  # tickets that `settled` has told

    @property
    def next_prompt(self) -> int:
        """The first prompt that was never assigned."""
        return self._next_prompt

    def add_worker(self, worker: W, slots: int = 1) -> None:
        """A worker that can hold `slots` groups at the same time is there.

        Raises:
            ValueError: it is known already, or `slots` is less than 1.
        """
        self._slots.add(worker, slots)

    def close_worker(self, worker: W) -> None:
        """A worker that is still there gets no more prompts.

        Raises:
            ValueError: there is no such worker.
        """
        self._slots.close(worker)

    def remove_worker(self, worker: W, *, blameless: bool = False) -> None:
        """A worker is gone; its groups will start again elsewhere. Results that it sent before are `REVOKED`.

        Args:
            blameless: it was taken away, so that this is no failed attempt of its prompts.

        Raises:
            ValueError: there is no such worker.
        """
        for ticket in self._slots.remove(worker):
            if self._revoked.pop(ticket, None) is None:
                self._give_back(ticket, blameless)

    def dispatch(self, now: float) -> list[Assignment[W]]:
        """Assign as many prompts as may start and as there are free slots, to the workers with the fewest groups. `now`
        is in seconds of a clock that never goes back, here and in `late`."""
        count = min(self.gate.capacity(), self._slots.free)
        version = self.gate.start(count)
        return [self._assign(version, now) for _ in range(count)]

    def finished(self, ticket: int, result: R, *, dropped: bool = False) -> Outcome:
        """A worker completed a group; `dropped` if the group carries no signal.

        Raises:
            ValueError: no such ticket was given out.
        """
        done = self._close(ticket)
        if done is None:
            return Outcome.REVOKED
        self._finish(done.prompt.number)
        if dropped:
            self.gate.drop(done.version)
            return Outcome.DROPPED
        self.gate.accept(done.version)
        group = Group(ticket, done.prompt, done.version, result)
        self._complete.setdefault(done.version, deque()).append(group)
        return Outcome.ACCEPTED

    def settled(self) -> list[Group[R]]:
        """Complete groups that the next update will train on whatever happens, and that were not told before: a learner
        may begin on them. With `max_staleness=0` a group waits for those of all prompts before it, so that not even the
        order in which they are told depends on timing."""
        found = islice(self._complete.get(self.gate.oldest, ()), self.gate.batch)
        groups = [group for group in found if group.ticket not in self._told]
        if self.gate.max_staleness == 0 and self._unfinished:
            groups = [group for group in groups if group.prompt.number < self._unfinished[0]]
        self._told.update(group.ticket for group in groups)
        return sorted(groups, key=lambda group: group.prompt.number)

    def failed(self, ticket: int, *, blameless: bool = False) -> None:
        """A worker that is still there could not complete a group, or has not begun it and will not (`blameless`).

        Raises:
            ValueError: no such ticket was given out.
        """
        if (done := self._close(ticket)) is not None:
            self.gate.fail(done.version)
            self._again.append(done.prompt if blameless else _next_attempt(done.prompt))

    def late(self, now: float) -> list[Assignment[W]]:
        """Groups that have taken longer than the deadline. Their prompts start again elsewhere; their slots stay taken
        until `finished`, `failed` or `remove_worker` tells that the worker is rid of them."""
        found = []
        while self._running and now - (oldest := next(iter(self._running.values()))).started > self.deadline_s:
            self._give_back(oldest.ticket)
            self._revoked[oldest.ticket] = oldest.worker
            found.append(oldest)
        return found

    @property
    def ready(self) -> bool:
        """Whether an update should begin now."""
        gate = self.gate
        last_chance = gate.version - gate.max_staleness
        return not gate.training and gate.pending >= gate.batch and not self._waited_for.get(last_chance)

    def take_batch(self) -> Batch[W, R]:
        """The groups of an update that begins now.

        Raises:
            CounterError: fewer groups than a batch are complete, or an update is under way.
        """
        groups: list[Group[R]] = []
        for version in sorted(self._complete):
            groups += islice(self._complete[version], self.gate.batch - len(groups))
        too_old = self.gate.consume(group.version for group in groups)
        for group in groups:
            self._complete[group.version].popleft()
        overtaken = [self._running.popitem(last=False)[1] for _ in range(too_old.running)]
        for assignment in overtaken:
            self._revoked[assignment.ticket] = assignment.worker
            self._unwait(assignment)
        self._told.clear()
        gone = [version for version in self._complete if version < self.gate.oldest]
        expired = [group for version in gone for group in self._complete.pop(version)]
        for group in expired:
            self._reopen(group.prompt.number)
        lost = [*(assignment.prompt for assignment in overtaken), *(group.prompt for group in expired)]
        self._overtaken = [_next_attempt(prompt, overtaken=True) for prompt in lost]
        self._training = groups
        return Batch(sorted(groups, key=lambda group: group.prompt.number), overtaken, expired)

    def trained(self) -> None:
        """The update is complete and its weights are in place.

        Raises:
            CounterError: no update is under way.
        """
        self.gate.bump_version()
        self._training = []
        self._again.extend(self._overtaken)
        self._overtaken = []

    def buffered(self) -> list[Group[R]]:
        """Complete groups that no complete update has trained on; a checkpoint must save their results."""
        return self._training + [group for version in sorted(self._complete) for group in self._complete[version]]

    def state(self) -> dict[str, Any]:
        """What is needed to go on after the processes are gone, as JSON values; results are left to `buffered`."""
        running = [_next_attempt(assignment.prompt) for assignment in self._running.values()]
        return {
            "gate": self.gate.state(),
            "deadline_s": self.deadline_s,
            "next_prompt": self._next_prompt,
            "next_ticket": self._next_ticket,
            "unfinished": [list(astuple(prompt)) for prompt in (*running, *self._again, *self._overtaken)],
            "buffered": [[group.ticket, group.version, *astuple(group.prompt)] for group in self.buffered()],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], results: Mapping[int, R]) -> Scheduler[W, R]:
        """A scheduler without workers that goes on from `state()`. Groups that ran start again; those of an update that
        was not complete are pending again.

        Args:
            results: what the worker gave, by ticket, for each group that was buffered.

        Raises:
            ValueError: a key or a result is missing, or the state contradicts itself.
        """
        try:
            gate = Backpressure.from_state(state["gate"]).without_processes()
            found = cls(gate, deadline_s=state["deadline_s"])
            found._next_prompt, found._next_ticket = state["next_prompt"], state["next_ticket"]
            found._again.extend(Prompt(*prompt) for prompt in state["unfinished"])
            found._unfinished.extend(sorted(prompt.number for prompt in found._again))
            for ticket, version, *prompt in state["buffered"]:
                group = Group(ticket, Prompt(*prompt), version, results[ticket])
                found._complete.setdefault(version, deque()).append(group)
        except KeyError as error:
            raise ValueError(f"scheduler state: {error} is missing; take what state() and buffered() gave") from error
        counts = {version: len(groups) for version, groups in found._complete.items()}
        if counts != dict(gate.state()["pending"]):
            raise ValueError(f"scheduler state: buffered groups by version {counts} are not those of the gate")
        return found

    def _assign(self, version: int, now: float) -> Assignment[W]:
        if self._again:
            prompt = self._again.popleft()
        else:
            prompt = Prompt(self._next_prompt)
            self._unfinished.append(prompt.number)
            self._next_prompt += 1
        assignment = Assignment(self._next_ticket, prompt, version, self._slots.fill(self._next_ticket), now)
        self._next_ticket += 1
        self._running[assignment.ticket] = assignment
        if prompt.overtaken:
            self._waited_for[version] = self._waited_for.get(version, 0) + 1
        return assignment

    def _close(self, ticket: int) -> Assignment[W] | None:
        """Free the ticket's slot; the assignment, or None if it was revoked."""
        if not 0 <= ticket < self._next_ticket:
            raise ValueError(f"ticket {ticket} was never given out; the next one is {self._next_ticket}")
        if (worker := self._revoked.pop(ticket, None)) is not None:
            self._slots.leave(worker, ticket)
        elif (assignment := self._running.pop(ticket, None)) is not None:
            self._slots.leave(assignment.worker, ticket)
            self._unwait(assignment)
            return assignment
        return None

    def _finish(self, number: int) -> None:
        self._finished.add(number)
        while self._unfinished and self._unfinished[0] in self._finished:
            self._finished.remove(self._unfinished.popleft())

    def _reopen(self, number: int) -> None:
        if number in self._finished:
            self._finished.remove(number)
        else:
            self._unfinished.appendleft(number)

    def _give_back(self, ticket: int, blameless: bool = False) -> None:
        assignment = self._running.pop(ticket)
        self._unwait(assignment)
        self.gate.fail(assignment.version)
        self._again.append(assignment.prompt if blameless else _next_attempt(assignment.prompt))

    def _unwait(self, assignment: Assignment[W]) -> None:
        if assignment.prompt.overtaken:
            self._waited_for[assignment.version] -= 1
            if not self._waited_for[assignment.version]:
                del self._waited_for[assignment.version]


def _next_attempt(prompt: Prompt, *, overtaken: bool = False) -> Prompt:
    return Prompt(prompt.number, prompt.attempts + 1, prompt.overtaken or overtaken)
