"""metrics.jsonl of a run that may still grow: what was read once is not read again."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Lock
from typing import Any

from rollout.reporting.training_numbers import is_number

Line = dict[str, Any]
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
_TABLES = ("seconds", "rejected", "staleness", "learner")


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
            return list(self._lines), list(self._faults)

    def _forget(self) -> None:
        self._offset, self._count, self._last = 0, 0, b""
        self._lines: list[Line] = []
        self._faults: list[str] = []

    def _go_on(self) -> None:
        if not self._path.is_file():
            self._forget()
            return
        with self._path.open("rb") as file:
            file.seek(max(0, self._offset - len(self._last)))
            if file.read(len(self._last)) != self._last:  # a resumed run cuts the file off and writes it anew
                self._forget()
                file.seek(0)
            for text in file:
                if not text.endswith(b"\n"):
                    break  # it is still being written
                self._offset += len(text)
                self._count += 1
                self._last = text
                line = _shown(text)
                if line is None:
                    self._faults.append(f"metrics.jsonl, line {self._count}: not the record of an update, left out")
                else:
                    self._lines.append(line)


def _shown(text: bytes) -> Line | None:
    """The numbers of one line; None where it is not an object with the number of an update."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or not isinstance(line.get("update"), int):
        return None
    shown: Line = {"update": line["update"], "stage": str(line.get("stage", ""))}
    shown |= {name: line[name] for name in _NUMBERS if is_number(line.get(name))}
    for name in _TABLES:
        table = line.get(name)
        if isinstance(table, dict):
            shown[name] = {str(key): value for key, value in table.items() if is_number(value)}
    return shown
