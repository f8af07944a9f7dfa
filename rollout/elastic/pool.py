"""The workers of one role, from being asked for to being ended: how many there should be becomes which of them are.

Pure: what a worker is, and what is done with it, comes in as `Workers`; times come in as arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar

from presets.planning.demand import Range, Sizing

W = TypeVar("W", bound=Hashable)
_PAUSE_S = 30.0  # after a worker that could not start: the next one may fail in the same way


class WorkerGone(RuntimeError):
    """A worker that was started will never be one: the message says why."""


class Workers(Protocol[W]):
    """What a pool does with the workers of a role. Nothing here waits. A worker is named the same throughout."""

    def members(self) -> Sequence[W]:
        """Those that get new jobs, those before the others that should stay longest."""

    def start(self) -> W:
        """Ask for another one."""

    def ready(self, worker: W) -> bool:
        """Whether one that was asked for can join now.

        Raises:
            WorkerGone: it never will.
        """

    def join(self, worker: W) -> None:
        """A ready one becomes a member."""

    def lost(self) -> Sequence[W]:
        """Members that are lost, and are none any more; Ray starts them again. Each is told once."""

    def leave(self, worker: W) -> None:
        """A member gets no new jobs, and is none any more."""

    def idle(self, worker: W) -> bool:
        """Whether one that left has finished what was sent before."""

    def end(self, worker: W) -> None:
        """End its process, whatever it does."""


class Pool(Generic[W]):
    """Keeps as many workers of a role as the backlog asks for.

    It grows by asking for workers that join when they are ready, so that it never waits for a node; it shrinks by
    taking back what it asked for and has not joined, then by draining members. A member that is lost is one that was
    asked for, for `restart_s` seconds; after that another one takes its place.

    Args:
        role: for notes.
        range: least and most, and what the backlog asks for.
        workers: of the role.
        idle_s: seconds of lower demand before the pool shrinks.
        drain_s: seconds that a worker which left may go on with what was sent before.
        restart_s: seconds that Ray may take to start a lost one again.
        note: hears of each change.

    Attributes:
        wanted: members that there should be.
    """

    def __init__(
        self,
        role: str,
        range: Range,
        workers: Workers[W],
        *,
        idle_s: float,
        drain_s: float,
        restart_s: float,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.role, self._range, self._workers, self._note = role, range, workers, note
        self._drain_s, self._restart_s = drain_s, restart_s
        self._sizing = Sizing(range.least, idle_s)
        self._asked_for: dict[W, float | None] = {}  # until when; None: as long as it is wanted
        self._draining: dict[W, float] = {}
        self._starts_again_at = 0.0
        self.wanted = range.least

    @property
    def asked_for(self) -> list[W]:
        """Those that are no members yet, or not again."""
        return list(self._asked_for)

    @property
    def draining(self) -> list[W]:
        """Those that have left and still work."""
        return list(self._draining)

    def follow(self, prompts: int, now: float) -> None:
        """Do what can be done now, with `prompts` that wait or are in flight."""
        self.wanted = self._sizing.follow(self._range.wanted(prompts), now)
        for worker in self._workers.lost():
            self._asked_for[worker] = now + self._restart_s
            self._note(f"{worker}: lost; {self._there()} go on")
        self._let_join(now)
        self._end_drained(now)
        surplus = len(self._workers.members()) + len(self._asked_for) - self.wanted
        if surplus < 0 and now >= self._starts_again_at:
            self._ask_for(-surplus)
        elif surplus > 0:
            self._take_back(surplus, now)

    def take_back_asked_for(self) -> None:
        """End those that have not joined, so that what they would take is free; the next `follow` asks anew."""
        for worker in self.asked_for:
            self._forget(worker)

    def close(self) -> None:
        """End all that are no members."""
        self.take_back_asked_for()
        for worker in self.draining:
            del self._draining[worker]
            self._workers.end(worker)

    def _let_join(self, now: float) -> None:
        for worker, until in list(self._asked_for.items()):
            try:
                if self._workers.ready(worker):
                    del self._asked_for[worker]
                    self._workers.join(worker)
                    self._note(f"{worker}: joined; {self._there()}")
                elif until is not None and now >= until:
                    self._forget(worker)
                    self._note(f"{worker}: given up, it was not back after rollout.restart_s = {self._restart_s:g} s")
            except WorkerGone as gone:
                self._forget(worker)
                self._starts_again_at = now + (0.0 if until is not None else _PAUSE_S)
                self._note(f"{worker}: will not come: {gone}")

    def _end_drained(self, now: float) -> None:
        for worker, until in list(self._draining.items()):
            if (idle := self._workers.idle(worker)) or now >= until:
                del self._draining[worker]
                self._workers.end(worker)
                self._note(
                    f"{worker}: ended" + ("" if idle else f" at work, after elastic.drain_s = {self._drain_s:g} s")
                )

    def _ask_for(self, count: int) -> None:
        for _ in range(count):
            self._asked_for[self._workers.start()] = None
        self._note(f"{self.role}: asked for {count} more; {self._there()}, {self.wanted} wanted")

    def _take_back(self, surplus: int, now: float) -> None:
        for worker in self.asked_for[::-1][:surplus]:
            self._forget(worker)
            self._note(f"{worker}: taken back before it joined; {self.wanted} wanted")
            surplus -= 1
        for worker in list(self._workers.members())[::-1][:surplus]:
            self._workers.leave(worker)
            self._draining[worker] = now + self._drain_s
            self._note(f"{worker}: drained; {self._there()}, {self.wanted} wanted")

    def _forget(self, worker: W) -> None:
        del self._asked_for[worker]
        self._workers.end(worker)

    def _there(self) -> str:
        count = len(self._workers.members())
        return f"{count} {self.role}{'' if count == 1 else 's'}"
