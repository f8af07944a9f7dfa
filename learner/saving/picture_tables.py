"""Tables with pictures in Parquet, as trajectories are: pictures once for all rows that share them, bytes that nothing
makes smaller as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

PICTURES = ("image_before", "image_after")
_AS_IT_IS = (*PICTURES, "flow.latents")  # PNG is compressed already, and noise cannot be
_NO_DICTIONARY = ("flow.latents",)  # no two rows have the same
_DICTIONARY_BYTES = 1 << 30  # more than the pictures of a row group: Parquet would write each row's own otherwise


def write_tables(tables: Iterable[pa.Table], schema: pa.Schema, path: Path) -> None:
    """Write each table as a row group. In one, a picture that several rows have is written once, which every reader
    undoes by itself.

    Raises:
        OSError: the file cannot be written.
    """
    columns = [name for field in schema for name in _leaves(field.name, field.type)]
    with pq.ParquetWriter(
        path,
        schema,
        compression={name: "none" if name in _AS_IT_IS else "zstd" for name in columns},
        use_dictionary=[name for name in columns if name not in _NO_DICTIONARY],
        dictionary_pagesize_limit=_DICTIONARY_BYTES,
    ) as writer:
        for table in tables:
            writer.write_table(table)


def _leaves(path: str, kind: pa.DataType) -> Iterator[str]:
    """The columns that Parquet makes of one of Arrow's, by their paths."""
    if pa.types.is_struct(kind):
        for place in range(kind.num_fields):
            yield from _leaves(f"{path}.{kind.field(place).name}", kind.field(place).type)
    elif pa.types.is_list(kind):
        yield from _leaves(f"{path}.list.element", kind.value_type)
    else:
        yield path
