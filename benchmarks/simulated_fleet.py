"""A discrete-event simulation of rollout workers that a real `Scheduler` drives, failures and stragglers included.

A worker is one GPU with an Inverse Diffuser and `slots` EnvRunners that share it. A group is, for each turn, an answer
of the Actor, `group_size` edits one after the other, and a check; the VLMs are other machines' business and never the
bottleneck, so they only take time. All times are in seconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from rollout.scheduling.assignment import Assignment, Outcome
from rollout.scheduling.scheduler import Scheduler
from rollout.scheduling.staleness import Backpressure

LOOK_EVERY_S = 30.0  # between two looks of the driver for late groups
Call = tuple[str, tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Setting:
    """What is simulated. Latencies are log-normal; a straggling edit takes `straggler_scale` times a Pareto variable as
    long."""

    workers: int = 8
    slots: int = 2
    groups_per_worker: int = 4  # batch = workers × this
    group_size: int = 8
    turns: int = 2
    edit_s: float = 8.0  # median, 28 steps of a FLUX-Kontext editor
    edit_sigma: float = 0.2
    answer_s: float = 1.5  # median, a 7B VLM
    answer_sigma: float = 0.5
    check_s: float = 0.6
    check_sigma: float = 0.3
    straggler_rate: float = 0.01  # share of edits
    straggler_scale: float = 4.0
    straggler_alpha: float = 1.5  # below 2: the variance is infinite
    drop_rate: float = 0.25  # share of groups whose rewards are all equal
    failure_every_s: float = 12 * 3600.0  # mean time until a worker dies
    detection_s: float = 60.0  # until its death is noticed
    restart_s: float = 120.0
    deadline_s: float = 1500.0
    update_s: float = 60.0
    sync_s: float = 5.0  # no edit on a worker while it loads new weights
    warmup: int = 2  # updates before the measurement
    updates: int = 8  # updates that are measured
    seed: int = 0

    @property
    def batch(self) -> int:
        """Groups that an update trains on."""
        return self.workers * self.groups_per_worker


@dataclass(frozen=True)
class Measurement:
    """What one schedule achieved, over the updates after the warm-up."""

    groups_per_s: float  # groups that were trained on
    busy: float  # share of the editors' time, dead editors included, in which they edited
    wasted: float  # share in which they edited for groups that were never complete in time
    max_age: int  # in versions, of the groups that were trained on
    mean_age: float


def make_scheduler(setting: Setting, max_staleness: int) -> Scheduler[int, float]:
    """The scheduler of a fleet, before it knows any worker."""
    gate = Backpressure(batch=setting.batch, max_staleness=max_staleness, concurrency=setting.workers * setting.slots)
    return Scheduler(gate, deadline_s=setting.deadline_s)


class Draws:
    """Random numbers, made many at a time."""

    def __init__(self, setting: Setting) -> None:
        self._setting, self._random = setting, np.random.default_rng(setting.seed)
        self.edits = self._stream(self.edit_seconds)
        self.answer = self._stream(lambda n: self._log_normal(setting.answer_s, setting.answer_sigma, n))
        self.check = self._stream(lambda n: self._log_normal(setting.check_s, setting.check_sigma, n))
        self.dropped = self._stream(lambda n: self._random.random(n) < setting.drop_rate)
        self.life = self._stream(lambda n: self._random.exponential(setting.failure_every_s, n))

    def edit_seconds(self, turns: int) -> np.ndarray:
        """(turns,) seconds that the edits of one group take in one turn."""
        setting = self._setting
        shape = (turns, setting.group_size)
        seconds = self._log_normal(setting.edit_s, setting.edit_sigma, shape)
        pareto = (1 + self._random.pareto(setting.straggler_alpha, shape)) * setting.straggler_scale
        late = self._random.random(shape) < setting.straggler_rate
        each: np.ndarray = np.where(late, seconds * pareto, seconds).sum(axis=1)
        return each

    def _log_normal(self, median: float, sigma: float, shape: Any) -> np.ndarray:
        drawn: np.ndarray = median * np.exp(sigma * self._random.standard_normal(shape))
        return drawn

    def _stream(self, draw: Callable[[int], np.ndarray]) -> Callable[[], Any]:
        def values() -> Iterator[Any]:
            while True:
                yield from draw(4096).tolist()

        return values().__next__


@dataclass(slots=True)
class _Worker:
    number: int
    alive: bool = True
    life: int = 0
    free_at: float = 0.0  # when the edits that it was given are done
    version: int = 0
    jobs: dict[int, _Job] = field(default_factory=dict)


@dataclass(slots=True)
class _Job:
    ticket: int
    worker: _Worker
    life: int
    turn: int = 0
    edited_s: float = 0.0


class Simulation:
    """One schedule on one fleet."""

    def __init__(self, setting: Setting, max_staleness: int) -> None:
        self.setting, self.draws = setting, Draws(setting)
        self.scheduler = make_scheduler(setting, max_staleness)
        self.workers = [_Worker(number) for number in range(setting.workers)]
        self._events: list[tuple[float, int, Callable[..., None], Any]] = []
        self._order = count()
        self._now = self._busy_s = self._wasted_s = 0.0
        self._calls: list[Call] = []
        self._ages: list[int] = []

    def run(self) -> tuple[Measurement, list[Call]]:
        """Simulate until the last update is complete; the measurement, and all that the scheduler was told."""
        for worker in self.workers:
            self._call("add_worker", worker.number, self.setting.slots)
            self._at(self.draws.life(), self._die, (worker, worker.life))
        self._look(None)
        self._drive()
        began = busy = wasted = 0.0
        gate, setting = self.scheduler.gate, self.setting
        measuring = False
        while gate.version < setting.warmup + setting.updates:
            self._now, _, event, argument = heapq.heappop(self._events)
            event(argument)
            if event != self._edit:
                self._drive()
            if not measuring and gate.version >= setting.warmup:
                measuring = True
                began, busy, wasted = self._now, self._edited_s(), self._wasted_s
                self._ages.clear()
        seconds = self._now - began
        editors = seconds * setting.workers
        measured = Measurement(
            groups_per_s=setting.updates * setting.batch / seconds,
            busy=(self._edited_s() - busy) / editors,
            wasted=(self._wasted_s - wasted) / editors,
            max_age=max(self._ages),
            mean_age=sum(self._ages) / len(self._ages),
        )
        return measured, self._calls

    def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        self._calls.append((method, arguments, options))
        return getattr(self.scheduler, method)(*arguments, **options)

    def _at(self, time: float, event: Callable[[Any], None], argument: Any) -> None:
        heapq.heappush(self._events, (time, next(self._order), event, argument))

    def _look(self, _: None) -> None:
        """From time to time the driver asks for late groups, and ends their workers."""
        for late in self._call("late", self._now):
            self._kill(self.workers[late.worker])
        self._at(self._now + LOOK_EVERY_S, self._look, None)

    def _drive(self) -> None:
        """What the driver does after each event that it is told of."""
        if self.scheduler.ready:
            batch = self._call("take_batch")
            self._ages += [self.scheduler.gate.version - group.version for group in batch.groups]
            self._wasted_s += sum(group.result for group in batch.expired)
            self._at(self._now + self.setting.update_s, self._trained, None)
        for assignment in self._call("dispatch", self._now):
            self._send(assignment)

    def _send(self, assignment: Assignment[int]) -> None:
        worker = self.workers[assignment.worker]
        if worker.alive:
            job = _Job(assignment.ticket, worker, worker.life)
            worker.jobs[job.ticket] = job
            self._at(self._now + self.draws.answer(), self._edit, job)

    def _edit(self, job: _Job) -> None:
        """The Actor has answered: queue the turn's edits, after new weights if there are any."""
        worker, setting = job.worker, self.setting
        if job.life != worker.life:
            return
        began = max(self._now, worker.free_at)
        if worker.version != self.scheduler.gate.version:
            worker.version = self.scheduler.gate.version
            began += setting.sync_s
        seconds = self.draws.edits()
        worker.free_at = began + seconds
        self._busy_s += seconds
        job.edited_s += seconds
        job.turn += 1
        checked = worker.free_at + self.draws.check()
        if job.turn < setting.turns:
            self._at(checked + self.draws.answer(), self._edit, job)
        else:
            self._at(checked, self._finish, job)

    def _finish(self, job: _Job) -> None:
        if job.life != job.worker.life:
            return
        del job.worker.jobs[job.ticket]
        outcome = self._call("finished", job.ticket, job.edited_s, dropped=self.draws.dropped())
        if outcome is Outcome.REVOKED:
            self._wasted_s += job.edited_s

    def _trained(self, _: None) -> None:
        self._call("trained")

    def _die(self, dying: tuple[_Worker, int]) -> None:
        worker, life = dying
        if life == worker.life:
            self._stop(worker)
            self._at(self._now + self.setting.detection_s, self._notice, (worker, worker.life))

    def _notice(self, dead: tuple[_Worker, int]) -> None:
        worker, life = dead
        if life == worker.life:
            self._call("remove_worker", worker.number)
            self._at(self._now + self.setting.restart_s, self._restart, worker)

    def _kill(self, worker: _Worker) -> None:
        if worker.alive:
            self._stop(worker)
            self._call("remove_worker", worker.number)
            self._at(self._now + self.setting.restart_s, self._restart, worker)

    def _stop(self, worker: _Worker) -> None:
        left = max(0.0, worker.free_at - self._now)
        self._busy_s -= left
        self._wasted_s += sum(job.edited_s for job in worker.jobs.values()) - left
        worker.jobs.clear()
        worker.alive, worker.free_at, worker.life = False, self._now, worker.life + 1

    def _restart(self, worker: _Worker) -> None:
        worker.alive, worker.version = True, self.scheduler.gate.version
        self._call("add_worker", worker.number, self.setting.slots)
        self._at(self._now + self.draws.life(), self._die, (worker, worker.life))

    def _edited_s(self) -> float:
        """Seconds of editing until now; edits that are queued behind others are not counted."""
        return self._busy_s - sum(max(0.0, worker.free_at - self._now) for worker in self.workers)
