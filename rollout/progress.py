"""What a run is doing: which phase, how long each takes, and what is left. Whoever shows it derives from `Progress`."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from statistics import median_high
from types import TracebackType
from typing import Any, Self


class Progress:
    """Keeps time, and shows nothing: the quiet mode, and the base of the others.

    A phase that runs inside another is counted for itself and not for the outer one, so that the seconds add up.

    Attributes:
        watchers: are called with the innermost open phase whenever that changes, with None where none is open.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._open: list[str] = []
        self._since = self._started
        self._this_update: dict[str, float] = defaultdict(float)
        self._all: dict[str, float] = defaultdict(float)
        self._update_began = self._started
        self._update_seconds: dict[str, list[float]] = defaultdict(list)
        self._done_before = 0
        self.run_name = ""
        self.plan: list[tuple[str, int]] = []
        self._begins: list[int] = [0]  # the update that each stage of the plan begins with; last, their number
        self.history: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.watchers: list[Callable[[str | None], None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def start(self, run_name: str, plan: Sequence[tuple[str, int]], done: int = 0) -> None:
        """Say what is going to happen: stages with their numbers of updates, `done` of which an earlier run did."""
        self.run_name, self.plan, self._done_before = run_name, list(plan), done
        self._begins = list(accumulate((updates for _, updates in plan), initial=0))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the seconds of the block under `name`."""
        self._settle()
        self._open.append(name)
        began = self._clock()
        self._on_phase(name)
        self._tell_watchers()
        try:
            yield
        finally:
            self._settle()
            self._open.pop()
            self._on_phase_end(name, self._clock() - began)
            self._tell_watchers()

    def _tell_watchers(self) -> None:
        for watcher in self.watchers:
            watcher(self._open[-1] if self._open else None)

    def _settle(self) -> None:
        """Credit the time since the last change to the innermost open phase."""
        now = self._clock()
        if self._open:
            self._this_update[self._open[-1]] += now - self._since
            self._all[self._open[-1]] += now - self._since
        self._since = now

    def seconds_by_phase(self) -> dict[str, float]:
        """Seconds of each phase since the last `update`, those of phases still open included."""
        self._settle()
        return dict(self._this_update)

    def total_seconds_by_phase(self) -> dict[str, float]:
        """Seconds of each phase since the beginning."""
        self._settle()
        return dict(self._all)

    def update(self, metrics: Mapping[str, Any]) -> None:
        """Show the metrics of one finished update (the line of metrics.jsonl), and begin to count the next one."""
        self._settle()
        self._this_update.clear()
        now = self._clock()
        self._update_seconds[str(metrics.get("stage"))].append(now - self._update_began)
        self._update_began = now
        self.history.append(dict(metrics))
        self._on_update(metrics)

    def begin_updates(self) -> None:
        """What came before (start-up, evaluation) does not belong to the next update's time."""
        self._settle()
        self._this_update.clear()
        self._update_began = self._clock()

    def note(self, text: str) -> None:
        """Say one thing that matters: a fault, a restart, where something was written."""
        self.notes.append(text)
        self._on_note(text)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Show how it ended."""
        self._on_finish(summary)

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._started

    @property
    def updates_done(self) -> int:
        """Updates that are done, those of an earlier run included."""
        return self._done_before + len(self.history)

    @property
    def total(self) -> int:
        """Updates of the whole plan."""
        return self._begins[-1]

    def done(self, position: int) -> int:
        """Updates done in the stage at this position of the plan; stages run in order."""
        return max(0, min(self.plan[position][1], self.updates_done - self._begins[position]))

    def seconds_left(self) -> float | None:
        """Estimate for the updates that are left, from the median of those of the same stage; None before the first."""
        every = [s for seconds in self._update_seconds.values() for s in seconds]
        if not every:
            return None
        medians = {stage: median_high(seconds) for stage, seconds in self._update_seconds.items()}
        of_any = median_high(every)
        if medians.keys() >= {"actor", "editor"}:  # an update of such a stage is either's
            medians["alternate"] = (medians["actor"] + medians["editor"]) / 2
        left = 0.0
        for position, (stage, updates) in enumerate(self.plan):
            left += (updates - self.done(position)) * medians.get(stage, of_any)
        return left

    def _on_phase(self, name: str) -> None: ...

    def _on_phase_end(self, name: str, seconds: float) -> None: ...

    def _on_update(self, metrics: Mapping[str, Any]) -> None: ...

    def _on_note(self, text: str) -> None: ...

    def _on_finish(self, summary: Mapping[str, Any]) -> None: ...
