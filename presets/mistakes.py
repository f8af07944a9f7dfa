"""What is wrong with settings, in one line for each mistake: the key's dotted name, its value, and what is allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from scenes.pictures.size import nearest

_MOST_LINES, _MOST_SHOWN = 30, 120
_WORDS_FOR_TRUE_AND_FALSE = {"yes", "no", "on", "off", "y", "n"}


def explain(
    error: ValidationError, root: type[BaseModel], follows: Mapping[str, str] | None = None, told: Collection[str] = ()
) -> list[str]:
    """One line for each mistake in a `root`, at most 30 and a line that counts the others.

    Args:
        follows: keys whose value was taken from another key, with that key: a mistake is told of the other.
        told: keys whose mistakes are told already.
    """
    lines: list[str] = []
    told, follows = set(told), follows or {}
    mistakes = error.errors(include_url=False)
    for mistake in mistakes:
        unknown = mistake["type"] == "extra_forbidden"  # its name may be any
        location = [part for part in mistake["loc"] if unknown or not _is_branch(part)]
        key = ".".join(map(str, location))
        if (source := follows.get(key)) is not None:
            if source in told or any(".".join(map(str, other["loc"])) == source for other in mistakes):
                continue
            key = source
        told.add(key)
        lines += _lines(mistake, location, _cut(key), root)
    lines = list(dict.fromkeys(lines))
    more = len(lines) - _MOST_LINES
    return [*lines[:_MOST_LINES], f"and {more} more mistakes"] if more > 0 else lines


def _is_branch(part: int | str) -> bool:
    """Whether a part of a location is no key, but pydantic's name for one of several types."""
    return isinstance(part, str) and (part in ("tuple", "list", "str") or part.startswith(("tuple[", "lax-or-strict")))


def _lines(mistake: Any, location: Sequence[str | int], key: str, root: type[BaseModel]) -> list[str]:
    kind, value = mistake["type"], mistake["input"]
    if kind == "extra_forbidden":
        allowed = list(section_at(location[:-1], root).model_fields)
        return [f"{key}: unknown key{suggest(str(location[-1]), allowed)}; allowed: {', '.join(allowed)}"]
    if kind == "missing":
        return [f"{key}: is missing{_describe(location, root)}"]
    if kind == "value_error" and not location:
        return str(mistake["ctx"]["error"]).splitlines()
    if kind == "value_error":
        return [f"{key}: {mistake['ctx']['error']}"]
    wrong = mistake["msg"].replace("Input should be", "must be").replace("'", "")
    options = re.findall(r"'([^']+)'", mistake["msg"]) if kind == "literal_error" else []
    hint = suggest(value, options) if isinstance(value, str) else ""
    if kind == "multiple_of":
        hint = f", as {nearest(value, mistake['ctx']['multiple_of'])}"
    return [f"{key}: {shown(value)} is refused: {wrong}{hint}{_remedy(kind, value)}{_describe(location, root)}"]


def _remedy(kind: str, value: Any) -> str:
    if not isinstance(value, str):
        return ""
    if kind == "bool_type" and value.lower() in _WORDS_FOR_TRUE_AND_FALSE:
        return ", write true or false"
    if kind in ("bool_type", "int_type", "float_type") and re.fullmatch(r"true|false|[-+]?[\d.]+(e[-+]?\d+)?", value):
        return ", write it without quotes"
    return ""


def shown(value: Any) -> str:
    """A value as messages show it: its `repr`, cut where it is long."""
    return _cut(f"an integer of {value.bit_length()} bits" if _is_huge(value) else repr(value))


def _is_huge(value: Any) -> bool:
    return isinstance(value, int) and value.bit_length() > 256


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 30]}… ({len(text)} characters)"


def suggest(word: str, allowed: Iterable[str]) -> str:
    """`, did you mean …?` where one of `allowed` is close to a word."""
    close = difflib.get_close_matches(word[:60], list(allowed), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _describe(location: Sequence[str | int], root: type[BaseModel]) -> str:
    names = [part for part in location if isinstance(part, str)]
    if not names or isinstance(location[-1], int):
        return ""
    field = section_at(location[:-1], root).model_fields.get(names[-1])
    return f" ({' '.join(field.description.split())})" if field is not None and field.description else ""


def section_at(location: Sequence[str | int], root: type[BaseModel]) -> type[BaseModel]:
    """The section that a location of the run file lies in."""
    model = root
    for part in location:
        fields: Mapping[str, Any] = model.model_fields
        if isinstance(part, str) and part in fields:
            model = section_of(fields[part].annotation) or model
    return model


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The pydantic type that a field's annotation names, in a list or beside None, too; None where it names none."""
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := section_of(arg))), None)
