"""Width and height of pictures."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

_STEP = 32  # pixels, in which diffusers' Qwen-Image-Edit pipelines choose the sides of what they see


class PictureSize(NamedTuple):
    """Width and height of a picture, in pixels; as text `96x64`."""

    width: int
    height: int

    @classmethod
    def of(cls, size: int | tuple[int, int]) -> PictureSize:
        """The size that a side of a square, or (width, height), means."""
        return cls(size, size) if isinstance(size, int) else cls(*size)

    @classmethod
    def of_image(cls, image: np.ndarray) -> PictureSize:
        """The size of pixels (height, width, …)."""
        return cls(image.shape[1], image.shape[0])

    @property
    def plain(self) -> int | PictureSize:
        """The side of a square, or itself: what `image_size` of an image model is told."""
        return self.width if self.is_square else self

    @property
    def is_square(self) -> bool:
        """Whether both sides are equal."""
        return self.width == self.height

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of its pixels: (height, width, 3)."""
        return self.height, self.width, 3

    @property
    def pixels(self) -> int:
        """How many."""
        return self.width * self.height

    def scaled_to(self, side: int) -> PictureSize:
        """The size of about `side`² pixels with its own ratio: a square's side is `side`; of others, both sides are
        multiples of 32, as diffusers' `calculate_dimensions` of Qwen-Image-Edit rounds them, 0 where one is too
        short."""
        if self.is_square:
            return PictureSize(side, side)
        ratio = self.width / self.height
        width = math.sqrt(side * side * ratio)
        return PictureSize(*(round(pixels / _STEP) * _STEP for pixels in (width, width / ratio)))

    def side_of_square(self, step: int) -> int:
        """The side, a multiple of `step`, of the largest square that has no more pixels; a square's own side."""
        return self.width if self.is_square else math.isqrt(self.pixels) // step * step

    @property
    def sides(self) -> dict[str, int]:
        """As arguments of a pipeline: `height` and `width`."""
        return {"height": self.height, "width": self.width}

    def misfits(self, multiple: int) -> dict[str, int]:
        """The sides that are no multiple: `height` and `width`, or `image_size` of a square."""
        named = {"image_size": self.width} if self.is_square else self.sides
        return {name: pixels for name, pixels in named.items() if pixels < multiple or pixels % multiple}

    def tokens(self, pixels: int) -> tuple[int, int]:
        """Rows and columns of tokens that stand for `pixels`² each."""
        return self.height // pixels, self.width // pixels

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def nearest(pixels: int, multiple: int) -> str:
    """The multiples next to a number, for people: `96 and 112`."""
    below = pixels // multiple * multiple
    return " and ".join(str(side) for side in (below, below + multiple) if side)
