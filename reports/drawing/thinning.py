"""The lines of a long run as fewer ones, so that its curves can be drawn and read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.reading.tail import Line

POINTS = 300
"""Points that a curve has at most; of a longer run, several updates make one."""
_LARGEST = ("logprob_mismatch", "staleness_max")


def thinned(lines: Sequence[Line]) -> tuple[list[Line], str]:
    """At most `POINTS` lines, each the mean of as many successive updates of one stage, and that in words; the lines
    themselves where they are few."""
    many = -(-len(lines) // POINTS)
    if many <= 1:
        return list(lines), ""
    parts: list[list[Line]] = []
    for line in lines:
        if not parts or len(parts[-1]) == many or parts[-1][0]["stage"] != line["stage"]:
            parts.append([])
        parts[-1].append(line)
    words = f"Each point is {many} successive updates: their mean, of mismatch and staleness their largest."
    return [_merged(part) for part in parts], words


def _merged(part: Sequence[Line]) -> Line:
    merged: Line = {"update": part[0]["update"], "stage": part[0]["stage"]}
    for key in dict.fromkeys(key for line in part for key in line if key not in merged):
        values = [line[key] for line in part if key in line]
        if isinstance(values[0], dict):
            names = dict.fromkeys(name for value in values for name in value)
            merged[key] = {n: _one([value[n] for value in values if n in value], n == "max") for n in names}
        else:
            merged[key] = _one(values, key in _LARGEST)
    return merged


def _one(values: Sequence[float], largest: bool) -> float:
    return max(values) if largest else sum(values) / len(values)
