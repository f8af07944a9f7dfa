"""The colours of what a box shows, by its pixels: eleven names, those of GenEval and grey."""

from __future__ import annotations

import numpy as np

from scenes.detected.boxes import Box

COLOURS = ("black", "white", "grey", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
SYNONYMS = {"gray": "grey", "violet": "purple"}
LEAST_SHARE = 1 / 3
"""Part of the pixels in the middle of a box that a colour of the object has at least. So an object has up to three."""
MIDDLE = 0.5
"""Part of a box's width and height in which its pixels are read: near its edges, it shows what is behind the object."""

_DARK, _PALE, _BRIGHT = 0.2, 0.15, 0.85  # value of black; saturation of black, grey and white; value of white
_HUES = ((15, "red"), (45, "orange"), (70, "yellow"), (170, "green"), (255, "blue"), (300, "purple"), (345, "pink"))
_BROWN_VALUE, _PINK_SATURATION = 0.65, 0.55


def plain_colour(word: str) -> str | None:
    """Which of `COLOURS` a word names; None where it names none."""
    word = word.casefold()
    word = SYNONYMS.get(word, word)
    return word if word in COLOURS else None


def named_pixels(pixels: np.ndarray) -> np.ndarray:
    """The colour of each pixel as a place in `COLOURS`: int (…,) of uint8 (…, 3).

    By hue, saturation and value (Smith 1978): black below a value of 0.2, white or grey below a saturation of 0.15,
    else by hue; a dark orange is brown, a pale red pink.
    """
    rgb = pixels.astype(np.float32) / 255
    value, least = rgb.max(axis=-1), rgb.min(axis=-1)
    saturation = np.divide(value - least, value, out=np.zeros_like(value), where=value > 0)
    hue = _hue(rgb, value, value - least)
    names = np.full(value.shape, COLOURS.index("red"))
    for limit, name in reversed(_HUES):
        names[hue < limit] = COLOURS.index(name)
    reddish = (hue < 15) | (hue >= 345)
    names[reddish & (saturation < _PINK_SATURATION) & (value > _BROWN_VALUE)] = COLOURS.index("pink")
    names[(hue >= 15) & (hue < 45) & (value < _BROWN_VALUE)] = COLOURS.index("brown")
    names[saturation < _PALE] = COLOURS.index("grey")
    names[(saturation < _PALE) & (value > _BRIGHT)] = COLOURS.index("white")
    names[value < _DARK] = COLOURS.index("black")
    return names


def colours_in(image: np.ndarray, box: Box) -> frozenset[str]:
    """The colours that at least a third of the pixels in the middle of a box have.

    Args:
        image: uint8 (H, W, 3).
        box: in pixels of the image; the pixel nearest to its middle is read in any case.
    """
    (x, y), (width, height) = box.centre, box.size
    rows = _span(y, height * MIDDLE, image.shape[0])
    names = named_pixels(image[rows, _span(x, width * MIDDLE, image.shape[1])])
    shares = np.bincount(names.ravel(), minlength=len(COLOURS)) / names.size
    return frozenset(name for name, share in zip(COLOURS, shares, strict=True) if share >= LEAST_SHARE)


def _span(middle: float, length: float, size: int) -> slice:
    """The pixels around a place, at least one."""
    first = min(max(int(np.floor(middle - length / 2 + 0.5)), 0), size - 1)
    return slice(first, min(max(int(np.floor(middle + length / 2 + 0.5)), first + 1), size))


def _hue(rgb: np.ndarray, value: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Degrees from 0 to below 360; 0 where there is no colour."""
    red, green, blue = np.moveaxis(rgb, -1, 0)
    safe = np.where(spread > 0, spread, 1)
    sector = np.select(
        [value == red, value == green], [(green - blue) / safe % 6, (blue - red) / safe + 2], (red - green) / safe + 4
    )
    degrees: np.ndarray = np.where(spread > 0, sector * 60 % 360, 0)
    return degrees
