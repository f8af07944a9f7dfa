"""Binary columns: their values are copied once, or not at all where they lie one behind the other already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

_MOST = np.iinfo(np.int32).max


def binary_array(values: Sequence[bytes | np.ndarray | None]) -> pa.BinaryArray:
    """An array of these values, bytes or contiguous uint8 (N,). Those of an array that was read lie in a row: the new
    one then shares their memory.

    Raises:
        ValueError: more than 2 GiB, which one array cannot hold.
    """
    views = [np.frombuffer(b"" if value is None else value, np.uint8) for value in values]
    offsets = np.cumsum([0, *(view.nbytes for view in views)])
    if offsets[-1] > _MOST:
        raise ValueError(f"{offsets[-1]} bytes are too many for one column of a table: make a table of fewer rows")
    there = None
    if any(value is None for value in values):
        there = pa.array([value is not None for value in values]).buffers()[1]
    buffers = [there, pa.py_buffer(offsets.astype(np.int32)), _in_a_row([view for view in views if view.nbytes])]
    return pa.Array.from_buffers(pa.binary(), len(views), buffers)


def values_of(array: pa.BinaryArray) -> Iterator[pa.Buffer | None]:
    """The values of an array where they lie; None where there is none. Arrow's own scalars are copies."""
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int32)[array.offset :].tolist() if len(array) else []
    for row, there in enumerate(array.is_valid().to_pylist()):
        yield data.slice(ends[row], ends[row + 1] - ends[row]) if there else None


def _in_a_row(views: Sequence[np.ndarray]) -> pa.Buffer:
    places = [view.ctypes.data for view in views]
    ends = [place + view.nbytes for place, view in zip(places, views, strict=True)]
    if views and places[1:] == ends[:-1]:
        return pa.foreign_buffer(places[0], ends[-1] - places[0], base=list(views))
    return pa.py_buffer(b"".join(view.data for view in views))
