"""The folder of all runs: which there are, how far each is, and the way to a run's files, which never leads out."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from reports.before_after.picture import THUMBNAIL
from reports.before_after.verdict import held_out_score
from reports.provenance.starts import STARTS, read_starts
from reports.reading.picture import Pictures
from reports.reading.settings import read_settings
from reports.reading.summary import summary_of
from reports.reading.tail import Line, MetricsTail
from reports.reading.text_file import bytes_of, end_of, read_text
from reports.reading.values import Values
from reports.run_record import RunRecord
from reports.status.reader import LOG, PROGRESS, live_record
from reports.tables import clock_text, metric_label
from scenes.harmless_text import name_of
from studio.pages.paging import part_of

RUNS_ON_A_PAGE = 50
_THUMBNAIL_SIDE = 240  # pixels
_TAILS = 32  # runs whose metrics are kept in memory


class NotThere(LookupError):
    """No run, update or trajectory has this name; the message can be shown."""


@dataclass(frozen=True)
class ShownRun:
    """One line of the list. `score` is the value of the last evaluation on held-out prompts in `metric`, None where
    there is none; `image` shows the first prompts before and after training as a data URI. `has_page`: its name can be
    part of an address."""

    name: str
    state: str
    metric: str
    score: float | None
    image: str | None
    written: str
    has_page: bool


@dataclass(frozen=True)
class RunsPage:
    """One page of the list, the newest run first; `page` counts from 1 to `pages`, `total` are all runs."""

    runs: list[ShownRun]
    page: int
    pages: int
    total: int


class RunsFolder:
    """Reads a folder whose subfolders are runs. A link that leads out of it is treated as if it were not there."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._tails: OrderedDict[Path, MetricsTail] = OrderedDict()
        self._lock = Lock()

    def names(self) -> list[str]:
        """The runs, the one that was last written first."""
        if not self.root.is_dir():
            return []
        found = [(self._written(path), path.name) for path in self.root.iterdir() if self._is_run(path)]
        return [name for _, name in sorted(found, reverse=True)]

    def find(self, name: str) -> Path:
        """The folder of a run.

        Raises:
            NotThere: no run is called so.
        """
        path = self.root / name
        if name in ("", ".", "..") or "/" in name or "\0" in name or not self._is_run(path):
            raise NotThere(f"run {name!r}: there is no such run in the folder of runs")
        return path

    def inside(self, path: Path) -> bool:
        """Whether a file or folder lies in the folder of runs, links followed."""
        return path.resolve().is_relative_to(self.root)

    def lines(self, run: Path) -> tuple[list[Line], list[str]]:
        """What `MetricsTail.read` says of the run."""
        path = run / "metrics.jsonl"
        if not self.inside(path):
            return [], ["metrics.jsonl leads out of the folder of runs, left out"]
        with self._lock:
            tail = self._tails.setdefault(path, MetricsTail(path))
            self._tails.move_to_end(path)
            while len(self._tails) > _TAILS:
                self._tails.popitem(last=False)
        return tail.read()

    def record(self, name: str) -> RunRecord:
        """The run without its trajectories and the scores of its held-out prompts.

        Raises:
            NotThere: no run is called so.
        """
        run = self.find(name)
        lines, damaged = self.lines(run)
        summary, faults = self._values(run / "summary.json", summary_of)
        config, more = self._values(run / "config.yaml", read_settings)
        starts, wrong = read_starts(run) if self.inside(run / STARTS) else ([], [])
        text, damaged = end_of(run / "config.yaml", self.root), [*damaged, *faults, *more, *wrong]
        return RunRecord(name, run, lines, summary, text, config, {}, starts=starts, damaged=damaged)

    def state(self, name: str) -> str:
        """A text that changes whenever a file does that the page of the run is made of.

        Raises:
            NotThere: no run is called so.
        """
        run = self.find(name)
        paths = (run / part for part in ("metrics.jsonl", "summary.json", "config.yaml", "trajectories", LOG))
        return "-".join(f"{stat.st_mtime_ns:x}.{stat.st_size:x}" for p in paths if p.exists() and (stat := p.stat()))

    def page(self, number: int = 1) -> RunsPage:
        """The list of runs, page by page; a number past the end is the last page."""
        names = self.names()
        here, number, pages = part_of(names, number, RUNS_ON_A_PAGE)
        return RunsPage([self._shown_anyway(name) for name in here], number, pages, len(names))

    def _is_run(self, path: Path) -> bool:
        if not path.is_dir() or not self.inside(path):
            return False
        return (
            (path / "config.yaml").is_file() or (path / "metrics.jsonl").is_file() or (path / "trajectories").is_dir()
        )

    def _written(self, run: Path) -> float:
        parts = [path for path in (run / "metrics.jsonl", run / "summary.json", run / "config.yaml") if path.is_file()]
        return max((path.stat().st_mtime for path in parts), default=run.stat().st_mtime)

    def _values(self, path: Path, read: Callable[[str], tuple[Values, list[str]]]) -> tuple[Values, list[str]]:
        """The mapping in a file, and what is wrong with it."""
        if not self.inside(path):
            return {}, [f"{path.name} leads out of the folder of runs, left out"]
        text, faults = read_text(path)
        return read(text) if text else ({}, faults)

    def time_left(self, record: RunRecord) -> str:
        """What a run that goes on estimates to take still, in words that follow others; empty where it says nothing."""
        said = live_record(end_of(record.folder / PROGRESS, self.root), []) if not record.finished else None
        if said is None or said.state != "running" or said.seconds_left is None:
            return ""
        return f", about {clock_text(said.seconds_left)} left"

    def _shown_anyway(self, name: str) -> ShownRun:
        """One bad folder never takes the list of all runs down."""
        try:
            return self._shown(name)
        except (OSError, NotThere) as error:  # it was removed meanwhile, or may not be read
            return ShownRun(name_of(name), f"cannot be read ({type(error).__name__})", "", None, None, "", False)

    def _shown(self, name: str) -> ShownRun:
        record = self.record(name)
        metric, score = held_out_score(record) or ("", None)
        return ShownRun(
            name=name_of(name),
            state=progress_of(record) + self.time_left(record),
            metric=metric_label(metric),
            score=score,
            image=Pictures().shown(bytes_of(record.folder / THUMBNAIL, self.root), _THUMBNAIL_SIDE),
            written=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self._written(record.folder))),
            has_page=name == name_of(name),
        )


def progress_of(record: RunRecord) -> str:
    """How far a run is, in words."""
    done = len(record.lines)
    of = f" of {record.planned}" if record.planned else ""
    if not done and not record.finished:
        return "no update yet"
    return f"{'finished' if record.finished else 'not finished'}, {done}{of} updates"
