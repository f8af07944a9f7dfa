import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from scenes.detected.boxes import Box
from scenes.detected.colours import COLOURS, colours_in, named_pixels, plain_colour
from scenes.shape_world import BACKGROUND
from scenes.shape_world import COLOURS as PALETTE

PIXELS = {
    **PALETTE,
    "white": BACKGROUND,
    "black": (12, 10, 14),
    "grey": (128, 128, 130),
    "pink": (250, 170, 190),
    "brown": (110, 65, 25),
}


@pytest.mark.parametrize("name", COLOURS)
def test_each_colour_is_called_by_its_name(name: str) -> None:
    assert COLOURS[named_pixels(np.array(PIXELS[name], np.uint8))] == name


@given(arrays.arrays(np.uint8, (4, 5, 3)))
def test_each_pixel_has_one_name(pixels: np.ndarray) -> None:
    names = named_pixels(pixels)
    assert names.shape == (4, 5)
    assert names.min() >= 0
    assert names.max() < len(COLOURS)


@given(st.integers(0, 255))
def test_what_has_no_colour_is_black_grey_or_white(level: int) -> None:
    assert COLOURS[named_pixels(np.full(3, level, np.uint8))] in ("black", "grey", "white")


def test_the_middle_of_a_box_counts_and_not_what_is_around() -> None:
    image = np.full((40, 40, 3), PIXELS["green"], np.uint8)
    image[10:30, 10:30] = PIXELS["red"]
    assert colours_in(image, Box(0, 0, 40, 40)) == {"red"}
    image[20:30, 10:30] = PIXELS["blue"]
    assert colours_in(image, Box(10, 10, 30, 30)) == {"red", "blue"}


def test_a_box_smaller_than_a_pixel_or_at_the_edge_is_read() -> None:
    image = np.full((8, 8, 3), PIXELS["green"], np.uint8)
    image[7, 7] = PIXELS["red"]
    assert colours_in(image, Box(7.2, 7.2, 7.4, 7.4)) == {"red"}
    assert colours_in(image, Box(7.9, 7.9, 8, 8)) == {"red"}


def test_words_for_colours() -> None:
    assert [plain_colour(word) for word in ("Red", "gray", "violet", "wooden")] == ["red", "grey", "purple", None]
