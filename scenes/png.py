"""Images as PNG bytes, and these as data URIs."""

from __future__ import annotations

import base64
import io
import os
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

# Of photographs about as small as zlib's level 6 makes them, in a quarter of the time; smaller than its level 1.
_FAST = {"compress_level": 1, "compress_type": zlib.Z_RLE}
_MOST_THREADS = 8


class Picture:
    """An image as pixels, as PNG bytes, or both: each is made of the other when it is first asked for, and kept.

    Args:
        pixels: uint8 (height, width, 3).
        png: PNG bytes of an image, which is not decoded before its pixels are asked for.
    """

    __slots__ = ("_pixels", "_png")

    def __init__(self, pixels: np.ndarray | None = None, *, png: bytes | None = None) -> None:
        if (pixels is None) == (png is None):
            raise ValueError("a Picture is made of pixels or of png, of one of them")
        self._pixels, self._png = pixels, png

    @property
    def encoded(self) -> bool:
        """Whether its PNG bytes are there."""
        return self._png is not None

    @property
    def pixels(self) -> np.ndarray:
        """uint8 (height, width, 3).

        Raises:
            OSError: its bytes are no image.
        """
        if self._pixels is None:
            assert self._png is not None
            self._pixels = decode_png(self._png)
        return self._pixels

    @property
    def png(self) -> bytes:
        """PNG bytes.

        Raises:
            ValueError: its pixels are no image.
        """
        if self._png is None:
            assert self._pixels is not None
            self._png = encode_png(self._pixels)
        return self._png


def encode_together(pictures: Iterable[Picture]) -> None:
    """Make the PNG bytes of the pictures that have none, each once, on as many cores as this process may use: Pillow's
    encoder leaves Python's lock to others.

    Raises:
        ValueError: the pixels of one are no image.
    """
    waiting = {id(picture): picture for picture in pictures if not picture.encoded}
    if not waiting:
        return
    threads = min(_MOST_THREADS, len(os.sched_getaffinity(0)), len(waiting))
    with ThreadPoolExecutor(threads, "png") as pool:
        for _ in pool.map(lambda picture: picture.png, waiting.values()):
            pass


def encode_png(image: np.ndarray) -> bytes:
    """PNG bytes of a uint8 array of shape (height, width, 3).

    Raises:
        ValueError: another dtype or shape.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image: needs uint8 of shape (height, width, 3), not {image.dtype} of shape {image.shape}")
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", **_FAST)
    return buffer.getvalue()


def decode_png(png: bytes) -> np.ndarray:
    """The uint8 array of shape (height, width, 3) in PNG bytes."""
    return np.array(Image.open(io.BytesIO(png)).convert("RGB"))


def data_uri(png: bytes) -> str:
    """PNG bytes as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
