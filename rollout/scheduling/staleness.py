"""Back-pressure: how many groups may start now, so that none is too old when it is trained on (DESIGN §5).

A group is what one prompt yields. Its behaviour version is the number of weight updates that were complete when it
started; its age is the number of updates between then and the update that trains on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


class CounterError(RuntimeError):
    """An event that cannot have happened in this state; the message names the counter and its value."""


@dataclass(frozen=True)
class Expired:
    """Groups, by where they were, that are too old for the update after the one that begins."""

    running: int
    pending: int


class Backpressure:
    """Counts groups by behaviour version. It knows no group, worker, prompt or time: those are the scheduler's.

    A group is *running* from its start until it is accepted, dropped or has failed; an accepted one is *pending* until
    an update consumes it, and *training* until that update is complete. Dropped, failed and expired groups are
    uncounted, as if they had never started.

    Args:
        batch: groups that an update trains on.
        max_staleness: greatest age of a group that is trained on, in versions; 0 is exactly on-policy.
        concurrency: groups that may run at the same time. While a group runs, concurrency / batch updates go by
            (Little's law), so that values well below batch × max_staleness make few groups too old.

    Attributes:
        version: updates that are complete.
        horizon: no group starts that an update before this one cannot train on, because what is sampled for later ones
            is another thing; None where there is no such update. It is no part of `state`.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(self, *, batch: int, max_staleness: int, concurrency: int) -> None:
        for name, value, least in (
            ("batch", batch, 1),
            ("max_staleness", max_staleness, 0),
            ("concurrency", concurrency, 1),
        ):
            if value < least:
                raise ValueError(f"{name} is {value}; give at least {least}")
        self.batch, self.max_staleness, self.concurrency = batch, max_staleness, concurrency
        self.version = 0
        self.horizon: int | None = None
        self._running: dict[int, int] = {}
        self._pending: dict[int, int] = {}
        self._training: dict[int, int] = {}

    @property
    def running(self) -> int:
        """Groups under way."""
        return sum(self._running.values())

    @property
    def pending(self) -> int:
        """Groups that were accepted and that no update has consumed."""
        return sum(self._pending.values())

    @property
    def training(self) -> int:
        """Groups that the update under way trains on; 0 if there is none."""
        return sum(self._training.values())

    @property
    def accepted(self) -> int:
        """Groups accepted since version 0, consumed ones included."""
        return self.version * self.batch + self.training + self.pending

    @property
    def oldest(self) -> int:
        """Least behaviour version that the next update to begin may train on."""
        return max(0, self.version + bool(self._training) - self.max_staleness)

    def capacity(self) -> int:
        """Groups that may start now: min(concurrency − running, (max_staleness + version + 1)·batch − (accepted +
        running)), from DESIGN §5, with the horizon in the place of max_staleness + version + 1 where it is nearer."""
        running = self.running
        updates = self.max_staleness + self.version + 1
        if self.horizon is not None:
            updates = min(updates, max(self.horizon, self.version))
        return max(0, min(self.concurrency - running, updates * self.batch - (self.accepted + running)))

    def start(self, count: int = 1) -> int:
        """Count `count` groups that start now, and return their behaviour version.

        Raises:
            CounterError: more than the capacity.
        """
        if not 0 <= count <= self.capacity():
            raise CounterError(f"capacity is {self.capacity()}: {count} groups cannot start")
        if count:
            self._running[self.version] = self._running.get(self.version, 0) + count
        return self.version

    def accept(self, version: int) -> None:
        """A running group of this behaviour version is complete and will be trained on.

        Raises:
            CounterError: no such group is running.
        """
        _take(self._running, version, 1, "running")
        self._pending[version] = self._pending.get(version, 0) + 1

    def drop(self, version: int) -> None:
        """A running group is complete and carries no signal.

        Raises:
            CounterError: no such group is running.
        """
        _take(self._running, version, 1, "running")

    def fail(self, version: int) -> None:
        """A running group will never be complete.

        Raises:
            CounterError: no such group is running.
        """
        _take(self._running, version, 1, "running")

    def consume(self, versions: Iterable[int]) -> Expired:
        """An update begins on pending groups with these behaviour versions, one for each group.

        Other groups that will be too old for the update after it are uncounted at once, not when it is complete: they
        cannot be trained on any more, and others may start in their place.

        Raises:
            CounterError: an update is under way, it is not one batch, or a group is not pending or too old.
        """
        counts: dict[int, int] = {}
        for version in versions:
            counts[version] = counts.get(version, 0) + 1
        total = sum(counts.values())
        if self.training:
            raise CounterError(f"training is {self.training}: version {self.version + 1} must be complete before")
        if total != self.batch:
            raise CounterError(f"batch is {self.batch}: an update cannot consume {total} groups")
        for version, count in counts.items():
            if version < self.oldest:
                raise CounterError(
                    f"max_staleness is {self.max_staleness}: groups of version {version} are {self.version - version} "
                    "versions old"
                )
            if count > self._pending.get(version, 0):
                raise CounterError(f"pending[{version}] is {self._pending.get(version, 0)}: {count} cannot be consumed")
        for version, count in counts.items():
            _take(self._pending, version, count, "pending")
        self._training = counts
        return Expired(
            running=sum(self._running.pop(version) for version in list(self._running) if version < self.oldest),
            pending=sum(self._pending.pop(version) for version in list(self._pending) if version < self.oldest),
        )

    def bump_version(self) -> int:
        """The update is complete, and groups start with new weights from now on; the version of these.

        Raises:
            CounterError: no update is under way.
        """
        if not self.training:
            raise CounterError("training is 0: no update is under way that could be complete")
        self.version += 1
        self._training = {}
        return self.version

    def state(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {
            "batch": self.batch,
            "max_staleness": self.max_staleness,
            "concurrency": self.concurrency,
            "version": self.version,
            "running": _pairs(self._running),
            "pending": _pairs(self._pending),
            "training": _pairs(self._training),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Backpressure:
        """The counters of `state()`.

        Raises:
            ValueError: a key is missing, or counts that cannot occur together.
        """
        try:
            found = cls(**{name: state[name] for name in ("batch", "max_staleness", "concurrency")})
            found.version = state["version"]
            found._running, found._pending, found._training = (
                dict(state[name]) for name in ("running", "pending", "training")
            )
        except KeyError as error:
            raise ValueError(f"back-pressure state: {error} is missing; take a dictionary that state() made") from error
        found._check()
        return found

    def without_processes(self) -> Backpressure:
        """What these counters are once every worker and the learner are gone: groups that ran are uncounted, those of
        an update that was not complete are pending."""
        found = Backpressure(batch=self.batch, max_staleness=self.max_staleness, concurrency=self.concurrency)
        found.version = self.version
        found._pending = {
            version: self._pending.get(version, 0) + self._training.get(version, 0)
            for version in sorted({*self._pending, *self._training})
        }
        return found

    def _check(self) -> None:
        oldest = {"running": self.oldest, "pending": self.oldest, "training": self.version - self.max_staleness}
        problems = [
            f"{name}[{version}] is {count}; versions go from {oldest[name]} to {self.version}, counts from 1"
            for name, counts in (("running", self._running), ("pending", self._pending), ("training", self._training))
            for version, count in counts.items()
            if count < 1 or not oldest[name] <= version <= self.version
        ]
        if self.version < 0:
            problems.append(f"version is {self.version}; the first is 0")
        if self.training not in (0, self.batch):
            problems.append(f"training is {self.training}; it is 0 or the batch of {self.batch}")
        surplus = self.accepted + self.running - (self.max_staleness + self.version + 1) * self.batch
        surplus = max(surplus, self.running - self.concurrency)
        if surplus > 0:
            problems.append(f"running is {self.running}, which is {surplus} more than may run")
        if problems:
            raise ValueError(f"back-pressure state: {'; '.join(problems)}")


def _pairs(counts: dict[int, int]) -> list[list[int]]:
    return [list(item) for item in sorted(counts.items())]


def _take(counts: dict[int, int], version: int, count: int, name: str) -> None:
    left = counts.get(version, 0) - count
    if left < 0:
        raise CounterError(f"{name}[{version}] is {counts.get(version, 0)}: {count} cannot leave it")
    if left:
        counts[version] = left
    else:
        del counts[version]
