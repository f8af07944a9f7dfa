"""Pictures that a run recorded, decoded within limits."""

from __future__ import annotations

import io

from PIL import Image

from scenes.png import data_uri

MOST_PIXELS = 1 << 24
"""Of one picture, 4096 × 4096; to decode more takes a second and 64 MB and more."""
UNREADABLE = "the image cannot be read"
_PLAIN_BYTES = 1 << 19  # of a PNG that is shown as it is


def decoded(png: bytes | None) -> Image.Image | None:
    """The pixels of a PNG; None where there is none that can be read within the limits."""
    try:
        with Image.open(io.BytesIO(png or b""), formats=["PNG"]) as image:
            if not 0 < image.width * image.height <= MOST_PIXELS:
                return None
            image.load()
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, Image.DecompressionBombError):
        return None


class Pictures:
    """The pictures of one page, which share `pixels` to decode and `size` bytes to show."""

    def __init__(self, pixels: int = 1 << 28, size: int = 1 << 26) -> None:
        self._left, self._size = pixels, size
        self.why = UNREADABLE
        """Why the last picture that is not shown is not."""

    def shown(self, png: bytes | None, largest: int) -> str | None:
        """PNG bytes as a data URI, made smaller where higher or wider than `largest` pixels; None where there is no
        picture that can be read within the limits."""
        if not png:
            return None
        try:
            with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
                pixels = image.width * image.height
                self.why = UNREADABLE if pixels > MOST_PIXELS else "left out: too many pictures on this page"
                if not 0 < pixels <= min(MOST_PIXELS, self._left):
                    return None
                self._left -= pixels
                image.load()
                if max(image.size) > largest or len(png) > _PLAIN_BYTES:
                    image.thumbnail((largest, largest))
                    buffer = io.BytesIO()
                    image.convert("RGBA" if image.has_transparency_data else "RGB").save(buffer, format="PNG")
                    png = buffer.getvalue()
        except (OSError, ValueError, SyntaxError, EOFError, MemoryError, Image.DecompressionBombError):
            self.why = UNREADABLE
            return None
        self._size -= len(png)
        return data_uri(png) if self._size >= 0 else None
