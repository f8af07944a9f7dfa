"""Buckets that were never copied together."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from weights.pieces import Pieces


def pieces_of(sizes: list[int], gap: int) -> Pieces:
    arrays = [np.arange(size, dtype=np.uint8) + number for number, size in enumerate(sizes)]
    offsets = [sum(sizes[:number]) + gap * number for number in range(len(sizes))]
    return Pieces(arrays, tuple(offsets), sum(sizes) + gap * len(sizes))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(0, 15))
def test_each_piece_is_found_where_it_lies_and_in_one_array(sizes, gap):
    pieces = pieces_of(sizes, gap)
    whole = np.asarray(pieces)
    assert len(whole) == len(pieces) == pieces.size
    for offset, array in zip(pieces.offsets, pieces.arrays, strict=True):
        wanted = slice(offset, offset + array.size)
        assert np.array_equal(pieces[wanted], array)
        assert np.array_equal(whole[wanted], array)
    assert whole.sum(dtype=int) == sum(array.sum(dtype=int) for array in pieces.arrays)


def test_where_no_piece_begins_there_are_no_bytes_and_a_piece_gives_no_more_than_it_has():
    pieces = pieces_of([4, 8], gap=12)
    assert pieces.offsets == (0, 16)
    assert [len(pieces[start : start + 4]) for start in (0, 4, 16, 20, 99)] == [4, 0, 4, 0, 0]
    assert len(pieces[0:10]) == 4
