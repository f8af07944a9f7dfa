"""A file of JSON records, an array or JSON Lines, read record by record, with errors that say where."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_MOST_SIDE = 4096  # pixels of a picture
_MOST_DIGITS = 300  # of a number; no field that is read has as many


class RecordError(ValueError):
    """A file of records that cannot be used; the message names file, record, field, value and remedy."""


def raw_records(path: Path) -> Iterator[tuple[Any, str | None]]:
    """Each record as JSON gives it, with what is wrong where it has a number that cannot be read.

    Raises:
        RecordError: broken JSON, or text that is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    if text.lstrip().startswith("["):
        yield from list(_array(text, str(path)))  # broken JSON is told before what is wrong with a record
        return
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        raise RecordError(f"{path}: the file is empty; give a JSON array or JSON Lines of LAION-SG records")
    for number, line in lines:
        record, end, problem = _value(line, 0, str(path), number)
        if end < len(line):
            raise _broken(str(path), number, json.JSONDecodeError("Extra data", line, end))
        yield record, problem


def _array(text: str, name: str) -> Iterator[tuple[Any, str | None]]:
    """The records of a JSON array, one after the other."""
    place = _next(text, text.index("[") + 1)
    closed = text[place : place + 1] == "]"
    while not closed:
        record, place, problem = _value(text, place, name, 1)
        yield record, problem
        if text[place : place + 1] not in (",", "]"):
            raise _broken(name, 1, json.JSONDecodeError("Expecting ',' delimiter", text, place))
        closed = text[place] == "]"
        place = place if closed else _next(text, place + 1)
    if (end := _next(text, place + 1)) < len(text):
        raise _broken(name, 1, json.JSONDecodeError("Extra data", text, end))


def _next(text: str, place: int) -> int:
    """The first place from `place` on that is no white space."""
    while place < len(text) and text[place] in " \t\n\r":
        place += 1
    return place


def _value(text: str, place: int, name: str, first_line: int) -> tuple[Any, int, str | None]:
    """The JSON value at a place, the place behind it and its white space, and what is wrong with its numbers."""
    long: list[str] = []

    def whole(digits: str) -> int:
        if len(digits) > _MOST_DIGITS:
            long.append(digits)
            return 0
        return int(digits)

    try:
        value, end = json.JSONDecoder(parse_int=whole).raw_decode(text, _next(text, place))
    except json.JSONDecodeError as error:
        raise _broken(name, first_line, error) from error
    except RecursionError as error:
        line = first_line + text.count("\n", 0, place)
        raise RecordError(f"{name}, line {line}: a record is nested too deep to be read; take it out") from error
    problem = f"the number {long[0][:20]}… has {len(long[0])} digits, which no field needs" if long else None
    return value, _next(text, end), problem


def _broken(name: str, first_line: int, error: json.JSONDecodeError) -> RecordError:
    shown = error.doc[max(0, error.pos - 20) : error.pos + 20].strip()
    return RecordError(
        f"{name}, line {first_line + error.lineno - 1}, column {error.colno}: broken JSON, {error.msg.lower()} "
        f"near {shown!r}; give a JSON array, or JSON Lines with one whole record a line"
    )


def read_picture(folder: Path, name: str) -> np.ndarray | str:
    """The picture that a record names, in this folder, uint8 (height, width, 3), or why it cannot be had."""
    try:
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            return "the folder holds no such image"
        with Image.open(path) as opened:
            if max(opened.size) > _MOST_SIDE:
                return f"an image has more than {_MOST_SIDE} pixels a side"
            return np.asarray(opened.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError):
        return "an image cannot be read"
