"""Turns the bytes of an uploaded image into pixels, or refuses them before they cost memory or time."""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from scenes.pictures.size import PictureSize
from scenes.uploads.refusal import UploadRefused
from scenes.uploads.structure import check_structure

# What a file of each format begins with. Nothing else is handed to a decoder, whatever the upload says it is.
_FORMATS = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff", "WEBP": b"RIFF"}
_READERS: dict[str, Callable[[io.BytesIO], Image.Image]] = {
    "PNG": PngImageFile,
    "JPEG": JpegImageFile,
    "WEBP": WebPImageFile,
}
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


def read_picture(data: bytes, max_pixels: int, size: PictureSize) -> bytes:
    """The uploaded image as RGB bytes, row by row: turned as its EXIF data says, transparency laid over white, scaled
    to `size`.

    Raises:
        UploadRefused: more than `max_pixels` pixels or too many parts, anything but PNG, JPEG and WebP, a file that is
            damaged or animated, or whose sides have another ratio than `size`: a square must be one, others may be off
            by a pixel of `size`.
    """
    kind = next((name for name, start in _FORMATS.items() if data.startswith(start)), None)
    if kind is None or (kind == "WEBP" and data[8:12] != b"WEBP"):
        raise UploadRefused("unsupported_image", "the file is not PNG, JPEG or WebP; convert it to PNG")
    check_structure(kind, data)
    if kind == "WEBP":  # its decoder takes memory for all pixels when it opens a file
        _check_dimensions(*_webp_dimensions(data), max_pixels, size)
    try:
        # Not by `Image.open`, which warns of many pixels, with its own path, before they can be refused here.
        with _READERS[kind](io.BytesIO(data)) as image:
            _check_dimensions(*image.size, max_pixels, size)
            if kind != "JPEG" and getattr(image, "is_animated", False):
                raise UploadRefused("animated_image", "the file is animated; send one image")
            if image.mode not in _MODES:
                raise UploadRefused(
                    "invalid_image", f"the image has pixels of kind {image.mode}; convert it to 8-bit RGB"
                )
            turned = ImageOps.exif_transpose(image).convert("RGBA")
    except (UploadRefused, MemoryError):
        raise
    except Exception as error:  # decoders raise many kinds of error on damaged files; the file is at fault in all cases
        raise UploadRefused("invalid_image", f"the file is not a whole {kind} image; save it anew") from error
    _check_ratio(PictureSize(*turned.size), size)
    white = Image.new("RGBA", turned.size, "white")
    flat = Image.alpha_composite(white, turned).convert("RGB")
    return (flat.resize(size, Image.Resampling.LANCZOS) if flat.size != size else flat).tobytes()


def _check_dimensions(width: int, height: int, max_pixels: int, size: PictureSize) -> None:
    if width < 1 or height < 1:
        raise UploadRefused("invalid_image", f"the image has {width}×{height} pixels; send at least one")
    if width * height > max_pixels:
        raise UploadRefused(
            "image_too_large", f"the image has {width}×{height} pixels; send at most {max_pixels} in all"
        )
    if size.is_square and width != height:
        raise UploadRefused(
            "image_not_square", f"the image has {width}×{height} pixels; crop or pad it to a square"
        )  # fmt: skip


def _check_ratio(sent: PictureSize, size: PictureSize) -> None:
    """After it was turned: before, width and height may be the other way round."""
    if abs(sent.height * size.width - sent.width * size.height) > max(sent):
        what = f"the image has {sent.width}×{sent.height} pixels"
        raise UploadRefused(
            "image_of_other_ratio", f"{what}; crop or pad it to the ratio of {size.width}×{size.height}"
        )


def _webp_dimensions(data: bytes) -> tuple[int, int]:
    """Width and height as the first chunk of a WebP file tells them."""
    chunk, body = data[12:16], data[20:30]
    if len(body) == 10:
        if chunk == b"VP8X":
            return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
        if chunk == b"VP8L" and body[0] == 0x2F:
            bits = int.from_bytes(body[1:5], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        if chunk == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
            return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    raise UploadRefused("invalid_image", "the file is not a whole WEBP image; save it anew")
