import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scenes.pictures.size import PictureSize
from scenes.uploads.picture import read_picture
from scenes.uploads.refusal import UploadRefused

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_PIXELS, SIZE = 65_536, PictureSize(64, 64)


def encoded(kind: str, size: tuple[int, int] = (64, 64), mode: str = "RGB", **options) -> bytes:
    picture = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def read(data: bytes, size: PictureSize = SIZE) -> np.ndarray:
    return np.frombuffer(read_picture(data, MAX_PIXELS, size), np.uint8).reshape(size.shape)


def refusal(data: bytes, size: PictureSize = SIZE) -> UploadRefused:
    with pytest.raises(UploadRefused) as caught:
        read(data, size)
    return caught.value


@pytest.mark.parametrize("kind", FORMATS)
def test_an_image_is_read_and_scaled(kind: str) -> None:
    same, scaled = read(encoded(kind)), read(encoded(kind, (96, 96)))
    assert same.shape == scaled.shape == (64, 64, 3)
    assert same.dtype == scaled.dtype == np.uint8


def test_pixels_of_a_png_stay_as_they_are() -> None:
    picture = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    assert np.array_equal(read(buffer.getvalue()), picture)


def test_transparency_is_laid_over_white() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (64, 64), (255, 0, 0, 0)).save(buffer, "PNG")
    assert (read(buffer.getvalue()) == 255).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P"])
def test_other_kinds_of_pixels_are_converted(mode: str) -> None:
    assert read(encoded("PNG", mode=mode)).shape == (64, 64, 3)


def test_exif_turns_the_image() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:32] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", exif=exif)
    turned = read(buffer.getvalue())
    assert turned[:32].max() == 0
    assert turned[32:].min() == 255


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "unsupported_image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_image"),
        (b"RIFF\x00\x00\x00\x00WAVE", "unsupported_image"),
        (encoded("GIF"), "unsupported_image"),
        (encoded("TIFF"), "unsupported_image"),
        (encoded("BMP"), "unsupported_image"),
        (encoded("PNG", (64, 48)), "image_not_square"),
        (encoded("PNG", mode="I;16"), "invalid_image"),
        (encoded("PNG", save_all=True, append_images=[Image.new("RGB", (64, 64))]), "animated_image"),
        (encoded("WEBP", save_all=True, append_images=[Image.new("RGB", (64, 64))]), "animated_image"),
    ],
)
def test_what_is_no_single_square_image_is_refused(data: bytes, code: str) -> None:
    assert refusal(data).code == code


WIDE = PictureSize(96, 64)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("sent", [(96, 64), (192, 128), (200, 133)])  # the last: 133.3 would be exact
def test_where_models_make_no_squares_an_image_has_their_ratio(kind: str, sent: tuple[int, int]) -> None:
    assert read(encoded(kind, sent), WIDE).shape == (64, 96, 3)


@pytest.mark.parametrize("sent", [(64, 64), (64, 96), (192, 120), (96, 1), (255, 200)])
def test_an_image_of_another_ratio_is_refused(sent: tuple[int, int]) -> None:
    problem = refusal(encoded("PNG", sent), WIDE)
    assert problem.code == "image_of_other_ratio"
    assert problem.message == f"the image has {sent[0]}×{sent[1]} pixels; crop or pad it to the ratio of 96×64"


def test_the_ratio_is_that_of_the_turned_image() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    assert read(encoded("JPEG", (64, 96), exif=exif), WIDE).shape == (64, 96, 3)
    assert refusal(encoded("JPEG", (96, 64), exif=exif), WIDE).code == "image_of_other_ratio"


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that says it has so many pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9999))) + chunk(b"IEND", b"")
    )


def webp(chunk: bytes, body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(body) + 12) + b"WEBP" + chunk + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    "data",
    [
        bomb(60_000, 60_000),
        bomb(10_000, 10_000),  # below Pillow's own limit
        bomb(2**31 - 1, 1),
        webp(b"VP8X", bytes(4) + (16_382).to_bytes(3, "little") * 2 + bytes(20)),
        webp(b"VP8L", b"\x2f" + (16_382 | 16_382 << 14).to_bytes(4, "little") + bytes(20)),
        webp(b"VP8 ", b"\x30\x01\x00\x9d\x01\x2a" + struct.pack("<HH", 16_383, 16_383) + bytes(20)),
    ],
)
def test_too_many_pixels_are_refused_before_they_take_memory(data: bytes) -> None:
    tracemalloc.start()
    error = refusal(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.code == "image_too_large"
    assert peak < 2_000_000


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("PNG", "RGB", {}),
        ("JPEG", "RGB", {"progressive": True}),
        ("WEBP", "RGB", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("WEBP", "RGBA", {}),
    ],
)
def test_the_dimensions_of_real_files_are_those_that_are_checked(kind: str, mode: str, options: dict) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (300, 301), (9, 99, 199, 99)[: len(mode)]).save(buffer, kind, **options)
    error = refusal(buffer.getvalue())
    assert error.code == "image_too_large"
    assert "300×301" in error.message


def read_or_refused(data: bytes) -> np.ndarray | UploadRefused:
    try:
        return read(data)
    except UploadRefused as error:
        return error


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(FORMATS), data=st.data())
def test_damaged_files_are_read_or_refused(kind: str, data: st.DataObject) -> None:
    """Whatever is cut off, changed or put in: an image of the right shape, or a 4xx that quotes no bytes or paths."""
    damaged = bytearray(encoded(kind))
    damaged = damaged[: data.draw(st.integers(0, len(damaged)), label="length")]
    for position in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=8) if damaged else st.just([])):
        damaged[position] = data.draw(st.integers(0, 255))
    damaged += data.draw(st.binary(max_size=16))
    found = read_or_refused(bytes(damaged))
    if isinstance(found, UploadRefused):
        assert "/" not in found.message
    else:
        assert found.shape == (64, 64, 3)
        assert found.dtype == np.uint8
