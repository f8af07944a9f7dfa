"""A curve in one line of text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

_BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float | None], width: int = 60) -> str:
    """One block a value from the least (lowest) to the greatest (highest), at most `width`; a space for None. A curve
    of equal values is a line of lowest blocks."""
    shown = thin(values, width)
    known = [value for value in shown if value is not None]
    if not known:
        return ""
    low, spread = min(known), max(known) - min(known)
    top = len(_BLOCKS) - 1
    return "".join(
        " " if value is None else _BLOCKS[round((value - low) / spread * top) if spread > 0 else 0] for value in shown
    )


def thin(values: Sequence[float | None], points: int) -> list[float | None]:
    """At most `points` means of stretches of equal length (within 1), in their order; None for one without values."""
    count = min(points, len(values))
    bounds = [k * len(values) // count for k in range(count + 1)] if count else []
    means = []
    for first, stop in pairwise(bounds):
        known = [value for value in values[first:stop] if value is not None]
        means.append(sum(known) / len(known) if known else None)
    return means
