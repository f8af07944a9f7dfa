"""Columns of large values: what is in them, and that nothing is copied which need not be."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenes.columns import binary
from scenes.columns.binary import binary_array, values_of

VALUES = st.lists(st.none() | st.binary(max_size=6), max_size=8)


@settings(deadline=None)
@given(VALUES)
def test_a_column_is_the_one_that_arrow_makes(values):
    made = binary_array(values)
    made.validate(full=True)
    assert made.to_pylist() == values
    assert made.equals(pa.array(values, pa.binary()))


@settings(deadline=None)
@given(VALUES, st.integers(0, 8), st.integers(0, 8))
def test_values_are_read_from_any_part_of_a_column(values, start, stop):
    part = pa.array(values, pa.binary())[start:stop]
    assert [None if it is None else it.to_pybytes() for it in values_of(part)] == part.to_pylist()
    null = pa.nulls(2, pa.binary())
    assert list(values_of(null)) == [None, None]


def test_values_of_a_column_that_was_read_are_not_copied_again():
    read = pa.array([b"one", b"", b"three", b"four"], pa.binary())
    values = [np.frombuffer(value, np.uint8) for value in values_of(read)]
    again = binary_array(values[:3])
    assert again.to_pylist() == [b"one", b"", b"three"]
    assert again.buffers()[2].address == read.buffers()[2].address
    other = binary_array(values[::-1])
    assert other.to_pylist() == [b"four", b"three", b"", b"one"]
    assert other.buffers()[2].address != read.buffers()[2].address


def test_shared_memory_lives_as_long_as_the_column():
    values = [np.frombuffer(value, np.uint8) for value in values_of(pa.array([b"x" * 1000, b"y" * 1000]))]
    made = binary_array(values)
    del values
    np.ones(10_000)  # takes memory that was given back
    assert made.to_pylist() == [b"x" * 1000, b"y" * 1000]


def test_more_than_an_array_can_hold_is_refused(monkeypatch):
    monkeypatch.setattr(binary, "_MOST", 5)
    with pytest.raises(ValueError, match="6 bytes are too many for one column of a table: make a table of fewer rows"):
        binary_array([b"abc", b"def"])
