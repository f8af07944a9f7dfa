"""How the values of several scorers become one reward: normalised, weighted, added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan

import numpy as np

from presets.scoring.scorers import ScorerConfig
from rewards.part import Part, Worth
from rewards.turn import ScoredTurn
from rewards.values import Values

EPSILON = 1e-4
"""Is added to a standard deviation, as in `learner.advantages`."""
Scale = tuple[float, float]
"""Mean and standard deviation of a scorer's values in the updates so far."""


def combined(
    entries: Sequence[ScorerConfig],
    turns: Sequence[ScoredTurn],
    values: Mapping[str, Values],
    scales: Mapping[str, Scale],
    seconds: Mapping[str, float],
) -> list[Worth]:
    """What each turn is worth: `r = Σ_k w_k · n_k(v_k)`.

    `n` is the identity (none), `(v − m) / (s + 1e-4)` with mean m and population standard deviation s of the values of
    the group's members (group), or with those of the updates so far (running), the identity before the first of these.
    An image that a group starts from (`still`) is normalised as its members are and counts for no mean.

    Where a value is missing, a required scorer makes its turn's reward NaN. One that is not is left out of the rewards
    of the whole group: members with and without it cannot be compared. A group's start goes without what is missing.

    Args:
        values: by the scorer's name, one for each turn.
        scales: by the scorer's name.
        seconds: wall clock of each scorer, by name.
    """
    columns = {entry.title: _column(entry, turns, values[entry.title], scales.get(entry.title)) for entry in entries}
    worths = []
    for place, turn in enumerate(turns):
        parts, missing, reward = [], [], 0.0
        for entry in entries:
            value, part = values[entry.title][place], columns[entry.title][place]
            if part is not None:
                reward += part
            elif value is None and entry.required and not turn.still:
                missing.append(entry.title)
            parts.append(Part(entry.title, _or_nan(value), _or_nan(part), seconds.get(entry.title, 0.0)))
        worths.append(Worth.without(tuple(parts), tuple(missing)) if missing else Worth(reward, tuple(parts)))
    return worths


def _or_nan(value: float | None) -> float:
    return nan if value is None else value


def _column(
    entry: ScorerConfig, turns: Sequence[ScoredTurn], values: Values, scale: Scale | None
) -> list[float | None]:
    """The parts of one scorer, None where it is left out."""
    incomplete: set[int] = set()
    if not entry.required:
        incomplete = {t.group for t, value in zip(turns, values, strict=True) if value is None and not t.still}
    scales = _scales_of_groups(turns, values) if entry.normalise == "group" else {}
    parts: list[float | None] = []
    for turn, value in zip(turns, values, strict=True):
        if value is None or turn.group in incomplete:
            parts.append(None)
            continue
        one = scales.get(turn.group) if entry.normalise == "group" else scale if entry.normalise == "running" else None
        parts.append(entry.weight * (value if one is None else (value - one[0]) / (one[1] + EPSILON)))
    return parts


def _scales_of_groups(turns: Sequence[ScoredTurn], values: Values) -> dict[int, Scale]:
    members: dict[int, list[float]] = {}
    for turn, value in zip(turns, values, strict=True):
        if value is not None and not turn.still:
            members.setdefault(turn.group, []).append(value)
    return {group: (float(np.mean(found)), float(np.std(found))) for group, found in members.items()}
