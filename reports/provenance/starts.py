"""The starts of a run: the settings of each, the update it went on from, and how long it took."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scenes.harmless_text import harmless

STARTS = "starts.jsonl"
_LONGEST = 2000


@dataclass(frozen=True)
class Start:
    """One start of a run. `update` is the first that it made, `seconds` what it took, `began` when, in seconds since
    the epoch; None where that is not known. `made_with` says in words with what code, packages, machine and command."""

    update: int
    config: Mapping[str, Any]
    seconds: float | None = None
    began: float | None = None
    made_with: Mapping[str, str] = field(default_factory=dict)


def read_starts(folder: Path) -> tuple[list[Start], list[str]]:
    """The starts that `starts.jsonl` of a run's folder tells, and what of the file is left out."""
    path, starts, faults = folder / STARTS, [], []
    for number, text in enumerate(path.read_bytes().splitlines() if path.is_file() else [], start=1):
        try:
            line = json.loads(text)
            if "config" in line:
                starts.append(
                    Start(
                        int(line["update"]),
                        dict(line["config"]),
                        began=float(line["began"]) if "began" in line else None,
                        made_with={
                            harmless(what, _LONGEST): harmless(text, _LONGEST)
                            for what, text in dict(line.get("made_with", {})).items()
                        },
                    )
                )
            else:
                starts[-1] = replace(starts[-1], seconds=float(line["seconds"]))
        except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError) as error:
            faults.append(f"{STARTS}, line {number}: left out: {type(error).__name__}")
    return starts, faults


def seconds_of(starts: Sequence[Start]) -> float | None:
    """Seconds of all starts together; None where those of one are not known."""
    known = [start.seconds for start in starts if start.seconds is not None]
    return sum(known) if starts and len(known) == len(starts) else None


def values_by_update(starts: Sequence[Start], key: str, updates: int) -> list[tuple[int, int, Any]]:
    """What a key of the run file was: first update, last update and value, for each stretch of the updates that are
    kept. A start takes the place of what an earlier one did after the update that it went on from.
    """
    found: list[tuple[int, int, Any]] = []
    for start in starts:
        value: Any = start.config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        found = [(first, min(last, start.update - 1), old) for first, last, old in found if first < start.update]
        if found and found[-1][2] == value:
            first, _, _ = found.pop()
        else:
            first = start.update
        if updates > first:
            found.append((first, updates - 1, value))
    return found
