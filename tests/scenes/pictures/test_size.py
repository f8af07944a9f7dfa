from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenes.pictures.size import PictureSize, nearest

SIDES = st.integers(1, 4096)


def test_a_square_is_said_by_its_side() -> None:
    assert PictureSize.of(64) == PictureSize.of((64, 64)) == PictureSize(64, 64)
    assert PictureSize.of(64).plain == 64
    assert PictureSize.of((96, 64)).plain == PictureSize(width=96, height=64)
    assert str(PictureSize(96, 64)) == "96x64"


@given(SIDES, SIDES)
def test_it_is_the_size_of_pixels_of_its_shape(width: int, height: int) -> None:
    size = PictureSize(width, height)
    image = np.broadcast_to(np.uint8(0), size.shape)
    assert PictureSize.of_image(image) == size
    assert image.size == 3 * size.pixels
    assert PictureSize.of(size.plain) == size


@given(st.integers(1, 64), st.integers(1, 64), st.sampled_from([8, 16]))
def test_tokens_fill_a_size_that_fits(rows: int, columns: int, pixels: int) -> None:
    size = PictureSize(columns * pixels, rows * pixels)
    assert size.misfits(pixels) == {}
    assert size.tokens(pixels) == (rows, columns)


def test_sides_that_do_not_fit_are_named() -> None:
    assert PictureSize(100, 64).misfits(16) == {"width": 100}
    assert PictureSize(96, 8).misfits(16) == {"height": 8}
    assert PictureSize(60, 60).misfits(8) == {"image_size": 60}


@given(SIDES, st.integers(1, 64))
def test_the_nearest_multiples_are_on_both_sides(pixels: int, multiple: int) -> None:
    found = [int(side) for side in nearest(pixels, multiple).split(" and ")]
    assert all(side > 0 and side % multiple == 0 and abs(side - pixels) <= multiple for side in found)
    assert max(found) > pixels
    assert len(found) == 2 or pixels < multiple


@given(SIDES, SIDES, st.integers(2, 64))
def test_scaled_it_has_about_as_many_pixels_as_the_square_and_keeps_its_ratio(width: int, height: int, by: int) -> None:
    side = 32 * by
    scaled = PictureSize(width, height).scaled_to(side)
    if width == height:
        assert scaled == (side, side)
        return
    ratio = width / height
    assert scaled.width == pytest.approx(side * math.sqrt(ratio), abs=16.001)
    assert scaled.height == pytest.approx(side / math.sqrt(ratio), abs=16.001)
    assert {pixels % 32 for pixels in scaled} == {0}


@given(SIDES, SIDES)
def test_the_square_of_as_many_pixels_has_no_more(width: int, height: int) -> None:
    side = PictureSize(width, height).side_of_square(16)
    if width == height:
        assert side == width
    else:
        assert side**2 <= width * height < (side + 17) ** 2
        assert side % 16 == 0
