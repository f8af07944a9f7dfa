"""Values of one Arrow column as Python values, each checked against what its column may hold."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa

from reports.reading.values import LARGEST
from scenes.harmless_text import harmless

LONGEST_LIST, LONGEST_BINARY = 100_000, 1 << 25
LARGEST_KEY = 10**9
_NAN = float("nan")


def kept(array: pa.Array, column: pa.Field, is_key: bool) -> tuple[list[Any], dict[int, str]]:
    """The values of `array`, an empty one of its type where one cannot be, and what was wrong by position.

    Args:
        column: says whether a value may be missing, also within lists and structs.
        is_key: whether a whole number must be one from 0 on with at most nine digits.
    """
    problems: dict[int, str] = {}
    kind = column.type
    try:
        values = array.to_pylist()
    except ValueError:  # texts that are no UTF-8
        values = [_one(array[place]) for place in range(len(array))]
    whole = pa.types.is_boolean(kind) or (pa.types.is_integer(kind) and not is_key)
    if whole and (column.nullable or array.null_count == 0):
        return values, problems
    if pa.types.is_floating(kind) and not array.null_count and all(abs(value) <= LARGEST for value in values):
        return values, problems
    for place, value in enumerate(values):
        if value is None and column.nullable:
            continue
        if isinstance(value, str):
            values[place] = harmless(value)
            continue
        problem = _problem(value, kind) or (is_key and pa.types.is_integer(kind) and _key_problem(value))
        if problem:
            problems[place] = problem
            values[place] = None if column.nullable else _empty(kind)
        elif pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
            values[place] = [harmless(text) for text in value]
    return values, problems


def _one(value: pa.Scalar) -> Any:
    try:
        return value.as_py()
    except ValueError:
        return None


def _key_problem(value: int) -> str:
    return "" if 0 <= value < LARGEST_KEY else "is no number that names a row"


def _problem(value: Any, kind: pa.DataType) -> str:
    """What is wrong with a value that may not be missing; NaN is a value."""
    if value is None:
        return "is missing or no text"
    if pa.types.is_floating(kind):
        return "is too large" if math.isfinite(value) and abs(value) > LARGEST else ""
    if pa.types.is_binary(kind):
        return "is too long" if len(value) > LONGEST_BINARY else ""
    if pa.types.is_list(kind):
        if len(value) > LONGEST_LIST:
            return "is too long"
        return next((f"holds a value that {found}" for one in value if (found := _problem(one, kind.value_type))), "")
    if pa.types.is_struct(kind):
        inner = [kind.field(place) for place in range(kind.num_fields)]
        return next((f"{one.name} {found}" for one in inner if (found := _problem(value[one.name], one.type))), "")
    return ""


def _empty(kind: pa.DataType) -> Any:
    """What stands for a value that cannot be."""
    if pa.types.is_struct(kind):
        return {kind.field(place).name: _empty(kind.field(place).type) for place in range(kind.num_fields)}
    if pa.types.is_list(kind):
        return []
    if pa.types.is_floating(kind):
        return _NAN
    if pa.types.is_boolean(kind):
        return False
    return "" if pa.types.is_string(kind) else b"" if pa.types.is_binary(kind) else 0
