"""Columns of pictures, as PNG bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import pyarrow as pa

from scenes.columns.binary import binary_array, values_of
from scenes.png import Picture


def picture_array(pictures: Sequence[Picture | None]) -> pa.BinaryArray:
    """The PNG bytes of the pictures.

    Raises:
        ValueError: the pixels of one are no image.
    """
    return binary_array([None if picture is None else picture.png for picture in pictures])


def pictures_in(column: pa.ChunkedArray, known: dict[bytes, Picture]) -> Iterator[Picture | None]:
    """The pictures of a column, equal ones once, none decoded.

    Args:
        known: pictures of other columns by their bytes; those of this one are added.
    """
    last, picture = None, None
    for buffer in chain.from_iterable(map(values_of, column.chunks)):
        if buffer is not None and (last is None or not buffer.equals(last)):  # a group's members share one
            png = buffer.to_pybytes()
            last, picture = buffer, known.setdefault(png, Picture(png=png))
        yield None if buffer is None else picture
