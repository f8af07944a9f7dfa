"""Parquet files in parts: rows one after the other, bounded in number and bytes, each value checked for its column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reports.reading.columns import kept
from reports.reading.values import MOST_FAULTS
from scenes.harmless_text import harmless, name_of

MOST_ROWS, MOST_PARTS, MOST_COLUMNS = 20_480, 5_000, 500
MOST_BYTES = 1 << 28
"""Of all values that one reading returns."""
_MEAN_BYTES = 1 << 25  # of one value, in the mean over a column of a row group
_FEW, _MANY = 16, 512  # rows at once, with and without images, paths and lists
_LEFT_OUT = {True: "the row is left out", False: "left out"}
_FOOTER = 1 << 24
Row = dict[str, Any]
Check = Callable[[pa.Schema], None]


class DamagedFile(ValueError):
    """A Parquet file cannot be read; the message can be shown."""


class Table:
    """One Parquet file of a run.

    Args:
        place: how the file is called in messages.
        schema: that its columns should have.
        check: raises ValueError for another one.
        keys: columns without which a row says nothing; other values are replaced by empty ones where they are missing
            or cannot be. Either is told in `faults`.
    """

    def __init__(
        self,
        path: Path,
        place: str,
        schema: pa.Schema,
        check: Check,
        keys: Sequence[str],
        heavy: Sequence[str] = (),
        most_rows: int = MOST_ROWS,
    ) -> None:
        self._path, self._place, self._schema, self._check = path, name_of(place), schema, check
        self._keys, self._heavy, self._most = frozenset(keys), frozenset(heavy), most_rows
        self._faults: Counter[str] = Counter()
        self._first: dict[str, int] = {}
        self._notes: list[str] = []

    @property
    def faults(self) -> list[str]:
        """What was wrong with the rows that were read, each kind once."""
        return [
            *self._notes,
            *(
                f"{self._place}: {what}, first in row {self._first[what]}{f', {count} times' if count > 1 else ''}"
                for what, count in list(self._faults.items())[:MOST_FAULTS]
            ),
        ]

    def rows(self, columns: Sequence[str], only: Collection[int] | None = None) -> Iterator[tuple[int, Row]]:
        """Rows with their numbers, all or those `only`.

        Raises:
            DamagedFile: the file is not whole, or of another schema, or claims what cannot be.
        """
        try:
            with pq.ParquetFile(
                self._path, thrift_string_size_limit=_FOOTER, thrift_container_size_limit=_FOOTER
            ) as file:
                self._check(file.schema_arrow)
                self._plausible(file.metadata, columns)
                yield from self._read(file, columns, only)
        except DamagedFile:
            raise
        except (pa.ArrowException, OSError, MemoryError, KeyError, IndexError) as error:  # whose words may tell a path
            why = f"it is not a whole Parquet file ({type(error).__name__})"
            raise DamagedFile(f"{self._place} is left out: {why}") from error
        except ValueError as error:
            raise DamagedFile(f"{self._place} is left out: {harmless(str(error), 300)}") from error

    def _plausible(self, claims: pq.FileMetaData, columns: Sequence[str]) -> None:
        if claims.num_row_groups > MOST_PARTS or claims.num_columns > MOST_COLUMNS or claims.num_rows < 0:
            raise ValueError(
                f"it claims {claims.num_row_groups} row groups and {claims.num_columns} columns; "
                f"{MOST_PARTS} and {MOST_COLUMNS} are read at most"
            )
        size = self._path.stat().st_size
        for number in range(claims.num_row_groups):
            group = claims.row_group(number)
            for place in range(group.num_columns):
                chunk = group.column(place)
                name = chunk.path_in_schema.partition(".")[0]
                least = min(chunk.total_compressed_size, chunk.total_uncompressed_size, chunk.num_values)
                if name not in columns:
                    continue
                if least < 0 or chunk.total_compressed_size > size:
                    raise ValueError(f"its column {name!r} claims more bytes than the file has")
                if chunk.total_uncompressed_size > _MEAN_BYTES * max(1, min(chunk.num_values, group.num_rows)):
                    raise ValueError(f"its column {name!r} claims {chunk.total_uncompressed_size} bytes")

    def _read(
        self, file: pq.ParquetFile, columns: Sequence[str], only: Collection[int] | None
    ) -> Iterator[tuple[int, Row]]:
        first = total = 0
        last = None if only is None else max(only, default=-1)
        at_once = _FEW if self._heavy.intersection(columns) else _MANY
        found = [name for name in columns if name in file.schema_arrow.names]  # an older table may lack some
        for batch in file.iter_batches(batch_size=at_once, columns=found, use_threads=False):
            numbers = [k for k in range(first, first + batch.num_rows) if only is None or k in only]
            total += batch.nbytes if numbers else 0
            if total > MOST_BYTES or first >= self._most:
                self._notes = [f"{self._place}: only the first {first} of {file.metadata.num_rows} rows are read"]
                return
            part = batch if only is None else batch.take(pa.array([k - first for k in numbers], pa.int64()))
            yield from self._rows(part, columns, numbers)
            first += batch.num_rows
            if last is not None and first > last:
                return

    def _rows(self, batch: pa.RecordBatch, columns: Sequence[str], numbers: Sequence[int]) -> Iterator[tuple[int, Row]]:
        gone: set[int] = set()
        read: dict[str, list[Any]] = {}
        for name in columns:
            if name not in batch.schema.names:
                read[name] = [None] * batch.num_rows
                continue
            read[name], problems = kept(batch.column(name), self._schema.field(name), name in self._keys)
            for place, problem in problems.items():
                self.fault(f"{name} {problem}, {_LEFT_OUT[name in self._keys]}", numbers[place])
                gone |= {place} if name in self._keys else set()
        for place, number in enumerate(numbers):
            if place not in gone:
                yield number, {name: read[name][place] for name in columns}

    def fault(self, what: str, row: int) -> None:
        """Count one more thing that is wrong with a row."""
        self._faults[what] += 1
        self._first.setdefault(what, row)
