"""A file of JSON records, an array or JSON Lines, read record by record in little memory."""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

_MOST_SIDE = 4096  # pixels of a picture
_CHUNK = 1 << 20  # bytes that are read at a time
_LONGEST = 1 << 24  # bytes of a line, or characters of a record in an array
_SPACE = re.compile(r"[ \t\n\r]*")
_NESTING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
_DECODER = json.JSONDecoder()
_WITHOUT_NUMBERS = json.JSONDecoder(parse_int=lambda digits: 0)

BROKEN = "it is broken JSON"
NO_UTF8 = "it is not UTF-8"
TOO_DEEP = "it is nested too deep"
TOO_LONG = f"it is longer than {_LONGEST >> 20} MiB"
MANY_DIGITS = f"a number has more than {sys.get_int_max_str_digits()} digits"


class RecordError(ValueError):
    """A file of records that cannot be used; the message names file, record, field, value and remedy."""


def raw_records(path: Path) -> Iterator[tuple[str, Any, str | None]]:
    """For each record where it stands (`record 0` of an array, `line 1` of JSON Lines), its value as JSON gives it, and
    what is wrong where it cannot be read.

    A line that is no JSON costs only itself. An array that is broken is an error, as nobody knows where its next record
    begins.

    Raises:
        RecordError: a broken array, or a file without records.
    """
    with path.open("rb") as file:
        start = 3 if file.read(3) == codecs.BOM_UTF8 else 0
        file.seek(start)
        sign = _first_sign(file)
        if not sign:
            raise RecordError(f"{path}: the file is empty; give a JSON array or JSON Lines")
        file.seek(start)
        yield from _array(_Text(file, str(path))) if sign == b"[" else _lines(file)


def _first_sign(file: BinaryIO) -> bytes:
    """The first byte that is no white space; empty where there is none."""
    while chunk := file.read(_CHUNK):
        if rest := chunk.lstrip():
            return rest[:1]
    return b""


def _lines(file: BinaryIO) -> Iterator[tuple[str, Any, str | None]]:
    number = 0
    while line := file.readline(_LONGEST):
        number += 1
        if len(line) == _LONGEST and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = file.readline(_LONGEST)
            yield f"line {number}", None, TOO_LONG
        elif line.strip():
            yield f"line {number}", *_line(line)


def _line(line: bytes) -> tuple[Any, str | None]:
    try:
        return _DECODER.decode(line.decode("utf-8")), None
    except UnicodeDecodeError:
        return None, NO_UTF8
    except json.JSONDecodeError:
        return None, BROKEN
    except ValueError:
        return None, MANY_DIGITS
    except RecursionError:
        return None, TOO_DEEP


def _array(text: _Text) -> Iterator[tuple[str, Any, str | None]]:
    """The records of a JSON array, one after the other."""
    text.next_sign()
    text.place += 1
    closed = text.next_sign() == "]"
    while not closed:
        yield f"record {text.records}", *text.value()
        text.records += 1
        if (sign := text.next_sign()) not in (",", "]"):
            raise text.broken("expecting ',' or ']'", text.place)
        if not (closed := sign == "]"):
            text.place += 1
            text.next_sign()
    text.place += 1
    if text.next_sign():
        raise text.broken("extra data", text.place)


class _Text:
    """The text of a file, of which only the part that is being read is in memory."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.place, self.records = 0, 0
        self._file, self._name = file, name
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._part, self._line, self._column, self._ended, self._escaped = "", 1, 1, False, False

    def next_sign(self) -> str:
        """Go to the next character that is no white space; empty at the end of the file."""
        while True:
            match = _SPACE.match(self._part, self.place)
            self.place = match.end() if match else self.place
            if self.place < len(self._part):
                return self._part[self.place]
            if not self._more():
                return ""

    def value(self) -> tuple[Any, str | None]:
        """The value that begins here, or what is wrong with it; the place is then behind it.

        Raises:
            RecordError: broken JSON.
        """
        while True:
            try:
                value, end, problem = self._parsed()
            except json.JSONDecodeError as error:
                if not self._more():
                    raise self.broken(error.msg.lower(), error.pos) from error
                continue
            if end == len(self._part) and not self._ended and self._more():
                continue  # a number may go on
            if self._escaped and problem is None and not _is_unicode(self._part[self.place : end]):
                problem = NO_UTF8
            self.place = end
            return value, problem

    def _parsed(self) -> tuple[Any, int, str | None]:
        """The value here, the place behind it, and what is wrong with it.

        Raises:
            JSONDecodeError: it does not end, or is broken.
        """
        try:
            return *_DECODER.raw_decode(self._part, self.place), None
        except json.JSONDecodeError:
            raise
        except RecursionError:
            return None, self._end_of_nesting(), TOO_DEEP
        except ValueError:  # of a number
            try:
                return None, _WITHOUT_NUMBERS.raw_decode(self._part, self.place)[1], MANY_DIGITS
            except RecursionError:
                return None, self._end_of_nesting(), TOO_DEEP

    def _end_of_nesting(self) -> int:
        """The place behind the bracket that closes the one here.

        Raises:
            JSONDecodeError: it is not closed.
        """
        depth = 0
        for found in _NESTING.finditer(self._part, self.place):
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found.group(), 0)
            if depth == 0:
                return found.end()
        raise json.JSONDecodeError("Brackets are not closed", self._part, self.place)

    def _more(self) -> bool:
        """Read on, and forget what is before the place; False at the end of the file, and within a record that is too
        long."""
        if self._ended or len(self._part) - self.place > _LONGEST:
            return False
        self._line, self._column = self._where(self.place)
        chunk = self._file.read(_CHUNK)
        self._ended = not chunk
        self._part = self._part[self.place :] + self._decoder.decode(chunk, final=self._ended)
        self.place = 0
        self._escaped = not _is_unicode(self._part)
        return True

    def _where(self, place: int) -> tuple[int, int]:
        """Line and column of a place in this part."""
        lines = self._part.count("\n", 0, place)
        return self._line + lines, place - self._part.rfind("\n", 0, place) if lines else self._column + place

    def broken(self, what: str, place: int) -> RecordError:
        """The error for a place where no JSON array can go on."""
        line, column = self._where(place)
        shown = self._part[max(0, place - 20) : place + 20].strip().encode("utf-8", "replace").decode()
        long = "" if self._ended else f" (or a record longer than {_LONGEST >> 20} MiB)"
        return RecordError(
            f"{self._name}, line {line}, column {column}: broken JSON{long}, {what} near {shown!r}, after "
            f"{self.records} records; where the next one begins is unknown, so none is used. Fetch the file again, or "
            "give JSON Lines, of which only the broken lines are left out"
        )


def _is_unicode(text: str) -> bool:
    """Whether a text has no byte in it that could not be decoded."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


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
