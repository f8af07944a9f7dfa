"""Values as they come from a scorer, checked: nonsense is no value, and costs nothing but its samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

Values = list[float | None]
"""One for each turn; None where there is none that can be used."""


class ScorerFailed(RuntimeError):
    """A scorer gave no values; the message says which and why."""


def checked_values(given: Any, count: int, nan_passes: bool = False) -> Values:
    """The values of `count` turns; None in the place of what is no finite number.

    Args:
        given: what the scorer returned: a list, a tuple or a one-dimensional array.
        nan_passes: NaN is kept, as an answer of its own.

    Raises:
        ScorerFailed: something else, or another number of values.
    """
    if isinstance(given, str | bytes | dict) or not isinstance(given, Iterable):
        raise ScorerFailed(f"returned {type(given).__name__}; return a list with a number for each of {count} turns")
    values = list(given)
    if len(values) != count:
        raise ScorerFailed(f"returned {len(values)} values for {count} turns; return one for each")
    return [_checked(value, nan_passes) for value in values]


def _checked(value: Any, nan_passes: bool) -> float | None:
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    number = float(value)
    return number if math.isfinite(number) or (nan_passes and math.isnan(number)) else None


def nonsense(given: Sequence[Any], values: Sequence[float | None]) -> str:
    """What to say of values of which some are none: the first of them, and how many."""
    bad = [one for one, value in zip(given, values, strict=True) if value is None]
    return f"gave {type(bad[0]).__name__} {bad[0]!r:.80} and in all {len(bad)} values that are no finite numbers"
