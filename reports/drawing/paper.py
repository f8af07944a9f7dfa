"""What the pictures of episodes share: colours, images of one size, lines of text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Line = tuple[str, Colour]
"""A line of text and its colour."""

INK, GREEN, RED, GREY, EDGE = (30, 30, 34), (22, 120, 60), (190, 35, 35), (110, 110, 118), (200, 200, 206)


def fitted(image: np.ndarray | Image.Image, side: int) -> Image.Image:
    """The image in a square of `side` pixels: a small one with its pixels to be seen, a large one smoothed; one that is
    no square in the middle of white."""
    picture = image.convert("RGB") if isinstance(image, Image.Image) else Image.fromarray(image).convert("RGB")
    scale = side / max(picture.size)
    size = tuple(max(1, round(length * scale)) for length in picture.size)
    picture = picture.resize((size[0], size[1]), Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS)
    square = Image.new("RGB", (side, side), "white")
    square.paste(picture, ((side - size[0]) // 2, (side - size[1]) // 2))
    return square


def write_lines(pen: ImageDraw.ImageDraw, x: int, y: int, lines: Sequence[Line], size: int, step: int) -> None:
    """Lines of text one below the other, the first with its upper left corner at (x, y); `step` pixels apart."""
    font = ImageFont.load_default(size)
    for number, (text, colour) in enumerate(lines):
        pen.text((x, y + step * number), text, fill=colour, font=font)
