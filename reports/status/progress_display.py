"""What a person or a script sees while a run works: which phase, how far, reward, seconds by phase, time left."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from reports.tables import clock_text, phases_text, summary_table, updates_table
from rollout.progress import Progress
from scenes.harmless_text import harmless

_LONG_PHASE_S = 5.0
_ROWS_SHOWN = 8


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
        self.console.print(
            f"{clock_text(self.elapsed):>7}  {harmless(text)}", markup=False, highlight=False, soft_wrap=True
        )

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
            bars.add_row(Text(stage), ProgressBar(updates, done, width=40), f"{done}/{updates}")
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
