"""Files that are small and cost much: refused by their parts, before anything is decoded."""

import io
import struct
import time
import zlib

import pytest
from PIL import Image

from scenes.pictures.size import PictureSize
from scenes.uploads.picture import read_picture
from scenes.uploads.refusal import UploadRefused
from scenes.uploads.structure import MAX_SCANS

SOI, EOI = b"\xff\xd8", b"\xff\xd9"


def jpeg(size: int = 64, **options) -> bytes:
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize((size, size)).convert("RGB").save(buffer, "JPEG", **options)
    return buffer.getvalue()


def with_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is there `count` more times."""
    whole = jpeg(progressive=True).removesuffix(EOI)
    return whole + whole[whole.rindex(b"\xff\xda") :] * count + EOI


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with more chunks behind its header."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "PNG")
    whole = buffer.getvalue()
    more = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    return whole[:33] + b"".join(more) + whole[33:]


def webp_with(chunks: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "WEBP", exif=b"Exif\0\0")
    data = buffer.getvalue() + b"JUNK\0\0\0\0" * chunks
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


ANIMATED = b"RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02\x00\x00\x00" + b"\x3f\x00\x00" * 2


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (with_scans(11_000), "image_too_costly", "more than 32 scans"),
        (with_scans(MAX_SCANS), "image_too_costly", "more than 32 scans"),
        (SOI + b"\xff\xfe\x00\x02" * 500_000 + jpeg()[2:], "image_too_costly", "more than 1000 segments"),
        (SOI + b"\xff" * 2_000_000, "invalid_image", "not a whole JPEG"),
        (png_with(*[(b"IDAT", b"")] * 100_000), "image_too_costly", "more than 4096 chunks"),
        (png_with(*[(b"tEXt", b"a\0b")] * 300), "image_too_costly", "more than 256 chunks without pixels"),
        (webp_with(300), "image_too_costly", "more than 256 chunks"),
        (ANIMATED, "animated_image", "animated"),
    ],
    ids=["scans", "a-scan-too-many", "segments", "fill", "chunks", "texts", "webp", "animation"],
)
def test_files_that_cost_much_are_refused_at_once(data: bytes, code: str, words: str) -> None:
    started = time.process_time()
    with pytest.raises(UploadRefused, match=words) as caught:
        read_picture(data, 4_194_304, PictureSize(64, 64))
    assert caught.value.code == code
    assert time.process_time() - started < 0.25


@pytest.mark.parametrize(
    "data",
    [
        with_scans(MAX_SCANS - 20),
        jpeg(progressive=True, quality=100),
        jpeg(comment=b"\xff\xda" * 1000),  # marks inside a segment are none
        png_with(*[(b"tEXt", b"a\0b")] * 200),
        webp_with(10),
    ],
    ids=["progressive", "quality", "comment", "texts", "webp"],
)
def test_files_as_programs_write_them_are_read(data: bytes) -> None:
    assert len(read_picture(data, 4_194_304, PictureSize(64, 64))) == 64 * 64 * 3
