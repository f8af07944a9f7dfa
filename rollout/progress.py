"""What a person or a script sees while a run works: which phase, how far, reward, seconds by phase, time left."""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from statistics import median_high
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from rollout.progress_tables import clock_text, phases_text, summary_table, updates_table

_LONG_PHASE_S = 5.0
_ROWS_SHOWN = 8


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
        left = 0.0
        for position, (stage, updates) in enumerate(self.plan):
            left += (updates - self.done(position)) * medians.get(stage, of_any)
        return left

    def _on_phase(self, name: str) -> None: ...

    def _on_phase_end(self, name: str, seconds: float) -> None: ...

    def _on_update(self, metrics: Mapping[str, Any]) -> None: ...

    def _on_note(self, text: str) -> None: ...

    def _on_finish(self, summary: Mapping[str, Any]) -> None: ...


class JsonProgress(Progress):
    """One JSON object a line, for scripts; `event` is start, begin (of a phase; `done` counts the updates before it),
    phase (one that is over), update, note or finish."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._stream = stream or sys.stdout

    def _write(self, event: str, **values: Any) -> None:
        line = {"event": event, "elapsed": round(self.elapsed, 3), **values}
        print(json.dumps(line, default=str), file=self._stream, flush=True)

    def start(self, run_name: str, plan: Sequence[tuple[str, int]], done: int = 0) -> None:
        super().start(run_name, plan, done)
        stages = [{"stage": stage, "updates": updates} for stage, updates in self.plan]
        self._write("start", run=run_name, plan=stages, done=done)

    def _on_phase(self, name: str) -> None:
        self._write("begin", phase=name, done=self.updates_done)

    def _on_phase_end(self, name: str, seconds: float) -> None:
        self._write("phase", phase=name, seconds=round(seconds, 3))

    def _on_update(self, metrics: Mapping[str, Any]) -> None:
        self._write("update", **metrics, seconds_left=self.seconds_left())

    def _on_note(self, text: str) -> None:
        self._write("note", text=text)

    def _on_finish(self, summary: Mapping[str, Any]) -> None:
        self._write("finish", summary=dict(summary))


class LineProgress(Progress):
    """Plain lines, for logs and for output that is not a terminal."""

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self.console = console or Console()

    def _line(self, text: str) -> None:
        self.console.print(f"{clock_text(self.elapsed):>7}  {text}", markup=False, highlight=False, soft_wrap=True)

    def start(self, run_name: str, plan: Sequence[tuple[str, int]], done: int = 0) -> None:
        super().start(run_name, plan, done)
        stages = ", then ".join(f"{stage} ({updates} updates)" for stage, updates in self.plan)
        self._line(f"run {run_name}: {stages}" if stages else run_name)

    def _on_phase(self, name: str) -> None:
        if not self.history:
            self._line(f"{name} …")

    def _on_phase_end(self, name: str, seconds: float) -> None:
        if self.history and seconds >= _LONG_PHASE_S and len(self._open) == 0:
            self._line(f"{name}: {seconds:.1f} s")

    def _on_update(self, metrics: Mapping[str, Any]) -> None:
        parts = [f"update {self.updates_done}/{self.total}", str(metrics.get("stage", ""))]
        if "reward_mean" in metrics:
            parts.append(f"reward {metrics['reward_mean']:.3f} ± {metrics.get('reward_std', 0):.3f}")
        parts += [phases_text(metrics.get("seconds", {})), f"left {clock_text(self.seconds_left())}"]
        self._line("  ".join(parts))

    def _on_note(self, text: str) -> None:
        self._line(text)

    def _on_finish(self, summary: Mapping[str, Any]) -> None:
        self.console.print(summary_table(summary))


class RichProgress(LineProgress):
    """A live display on a terminal; notes scroll above it."""

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console, clock)
        self._spinner = Spinner("dots")
        self._live = Live(get_renderable=self.render, console=self.console, refresh_per_second=4, transient=False)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.__exit__(kind, error, trace)

    def _on_phase(self, name: str) -> None: ...

    def _on_phase_end(self, name: str, seconds: float) -> None:
        if not self.history and seconds >= 1.0:
            self._line(f"{name}: {seconds:.1f} s")

    def _on_update(self, metrics: Mapping[str, Any]) -> None: ...

    def render(self) -> Group:
        """The display as it is now."""
        left = self.seconds_left()
        head = Text.assemble(
            (self.run_name or "rlrig", "bold"),
            f"   elapsed {clock_text(self.elapsed)}   left {clock_text(left)}",
        )
        bars = Table.grid(padding=(0, 2))
        for position, (stage, updates) in enumerate(self.plan):
            done = self.done(position)
            bars.add_row(stage, ProgressBar(updates, done, width=40), f"{done}/{updates}")
        self._spinner.update(text=Text(" › ".join(self._open) or "…"))
        parts: list[Any] = [head, bars]
        if self.history:
            parts.append(updates_table(self.history[-_ROWS_SHOWN:]))
        return Group(*parts, self._spinner)


def make_progress(
    quiet: bool = False, as_json: bool = False, console: Console | None = None, out: TextIO | None = None
) -> Progress:
    """The display for where the output goes: JSON lines (to `out`), nothing, a terminal, or plain lines."""
    if as_json:
        return JsonProgress(out)
    if quiet:
        return Progress()
    console = console or Console()
    return RichProgress(console) if console.is_terminal else LineProgress(console)
