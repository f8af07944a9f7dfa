"""metrics.jsonl of a run that may still grow: what was read once is not read again."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

from reports.reading.metrics import LONGEST_LINE, REWARDS, Lines, texts_of
from reports.reading.values import Values, is_number

Line = Values
_NUMBERS = (
    "reward_mean",
    "reward_std",
    "reward_before",
    "truth_mean",
    "checker_agreement",
    "groups",
    "groups_dropped",
    "turns",
    "unparsable",
    "restarts",
    "requeued",
    "replaced",
    "actor_version",
    "editor_version",
    "seconds_total",
    "logprob_mismatch",
)
_TEXTS = ("truth_by", "truth_scorer")
_TABLES = ("seconds", "rejected", "unread", "staleness", "learner", *REWARDS)


class MetricsTail:
    """The lines of one file, of each the numbers that pages show. Safe to read from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._forget()

    def read(self) -> tuple[list[Line], list[str]]:
        """All whole lines so far, and what is wrong with others. A file that is not there has none."""
        with self._lock:
            self._go_on()
            return list(self._lines), self._reader.faults.texts

    def _forget(self) -> None:
        self._offset, self._last = 0, b""
        self._lines: list[Line] = []
        self._reader = Lines()

    def _go_on(self) -> None:
        if not self._path.is_file():
            self._forget()
            return
        with self._path.open("rb") as file:
            file.seek(max(0, self._offset - len(self._last)))
            if file.read(len(self._last)) != self._last:  # a resumed run cuts the file off and writes it anew
                self._forget()
                file.seek(0)
            for text in texts_of(file):
                if not text.endswith(b"\n") or self._reader.full:
                    break  # it is still being written, or too long
                self._offset, self._last = file.tell(), text if len(text) <= LONGEST_LINE else b""
                line = self._reader.read(text)
                if line is not None:
                    self._lines.append(_shown(line))


def _shown(line: Line) -> Line:
    """The numbers of one line, and what measured the truth."""
    shown: Line = {"update": line["update"], "stage": line.get("stage", "")}
    shown |= {name: line[name] for name in _NUMBERS if is_number(line.get(name))}
    shown |= {name: line[name] for name in _TEXTS if line.get(name)}
    for name in _TABLES:
        if isinstance(line.get(name), dict):
            shown[name] = {key: value for key, value in line[name].items() if is_number(value)}
    return shown
