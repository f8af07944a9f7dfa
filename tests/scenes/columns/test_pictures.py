"""Columns of pictures."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from scenes.columns.pictures import picture_array, pictures_in
from scenes.png import Picture


def picture(value: int) -> Picture:
    return Picture(np.full((4, 4, 3), value, np.uint8))


def test_a_picture_comes_back_and_equal_ones_are_one():
    one, other = picture(1), picture(2)
    column = pa.chunked_array([picture_array([one, one, None]), picture_array([one, other, picture(1)])])
    known: dict[bytes, Picture] = {}
    found = list(pictures_in(column, known))
    assert [None if it is None else it.png for it in found] == column.to_pylist()
    assert found[0] is found[1] is found[3] is found[5]
    assert found[2] is None
    assert found[4] is not found[0]
    (again,) = pictures_in(pa.chunked_array([picture_array([other])]), known)
    assert again is found[4]
    np.testing.assert_array_equal(again.pixels, other.pixels)
