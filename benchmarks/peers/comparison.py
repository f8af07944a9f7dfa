"""Seconds of two sides beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

PHASES = ("draw", "generation", "edit", "check", "learning", "sync")
WHOLE = "update"
WITHOUT_DRAWING = "update without drawing"

Seconds = dict[str, float]
Tables = dict[str, dict[str, tuple[float, float]]]
"""By work and phase, the seconds of ours and theirs."""


def complete(seconds: Seconds) -> Seconds:
    """The phases of an update, what is in none of them as `other`, and the update with and without drawing."""
    found = {phase: seconds.get(phase, 0.0) for phase in PHASES}
    whole = seconds[WHOLE]
    rest = {"other": whole - sum(found.values()), WHOLE: whole, WITHOUT_DRAWING: whole - found["draw"]}
    return found | rest


def compare(ours: Sequence[Seconds], theirs: Sequence[Seconds]) -> dict[str, tuple[float, float]]:
    """The median seconds of each phase, ours and theirs. Medians of phases do not add up to that of the update.

    Raises:
        ValueError: a side has no measurement.
    """
    if not ours or not theirs:
        raise ValueError(f"{len(ours)} and {len(theirs)} measurements; a median needs at least one of each side")
    return {
        phase: (median(one[phase] for one in ours), median(one[phase] for one in theirs))
        for phase in ours[0]
        if any(one[phase] for one in (*ours, *theirs))
    }


def markdown(tables: Tables) -> Iterator[str]:
    """The lines of one table."""
    yield "| work | phase | ours, s | theirs, s | ratio |"
    yield "|---|---|---|---|---|"
    for work, phases in tables.items():
        for phase, (ours, theirs) in phases.items():
            ratio = f"{ours / theirs:.2f}" if theirs > 0 else ""
            yield f"| {work} | {phase} | {ours:.2f} | {theirs:.2f} | {ratio} |"
