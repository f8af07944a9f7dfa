"""The parts of an image file, counted from its bytes before a decoder sees them.

A decoder's work grows with the scans of a JPEG and the chunks of a PNG or WebP, not with pixels alone: 11,000 scans of
a small picture fit into 200 kB and take seconds.
"""

from __future__ import annotations

import re

from scenes.uploads.refusal import UploadRefused

MAX_SCANS = 32
"""The most passes over a JPEG's pixels. Encoders write 1, or about 10 for progressive files."""
MAX_SEGMENTS = 1000
"""The most marker segments of a JPEG."""
MAX_CHUNKS = 4096
"""The most chunks of a PNG: 8 MiB in chunks of 2 KiB."""
MAX_OTHER_CHUNKS = 256
"""The most chunks of a PNG or WebP that hold no pixels; each may be a compressed text of its own."""

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # the others are stuffing, restarts and fill bytes
_END, _SCAN, _ALONE = 0xD9, 0xDA, (0x01, 0xD8)
_MAX_GAP = 1024


def check_structure(kind: str, data: bytes) -> None:
    """Count the parts of a file; reads each byte at most once.

    Args:
        kind: `JPEG`, `PNG` or `WEBP`.

    Raises:
        UploadRefused: too many parts, or an animation.
    """
    {"JPEG": _check_jpeg, "PNG": _check_png, "WEBP": _check_webp}[kind](data)


def _check_jpeg(data: bytes) -> None:
    position, segments, scans, code = 2, 0, 0, 0
    while (marker := _MARKER.search(data, position)) is not None:
        _check_gap(code, marker.start() - position)
        code, position = data[marker.end() - 1], marker.end()
        if code == _END:
            return
        if code in _ALONE:
            continue
        segments += 1
        scans += code == _SCAN
        _limit("scans", scans, MAX_SCANS)
        _limit("segments", segments, MAX_SEGMENTS)
        position += max(2, int.from_bytes(data[position : position + 2], "big"))
    _check_gap(code, len(data) - position)


def _check_gap(code: int, length: int) -> None:
    """Between segments is nothing; a reader looks at each byte of what is there all the same."""
    if code != _SCAN and length > _MAX_GAP:
        raise UploadRefused("invalid_image", "the file is not a whole JPEG image; save it anew")


def _check_png(data: bytes) -> None:
    position, chunks, others = 8, 0, 0
    while position + 8 <= len(data):
        kind = data[position + 4 : position + 8]
        if kind == b"IEND":
            return
        chunks += 1
        others += kind != b"IDAT"
        _limit("chunks", chunks, MAX_CHUNKS)
        _limit("chunks without pixels", others, MAX_OTHER_CHUNKS)
        position += 12 + int.from_bytes(data[position : position + 4], "big")


def _check_webp(data: bytes) -> None:
    if data[12:16] == b"VP8X" and len(data) > 20 and data[20] & 0x02:
        raise UploadRefused("animated_image", "the file is animated; send one image")
    position, chunks = 12, 0
    while position + 8 <= len(data):
        chunks += 1
        _limit("chunks", chunks, MAX_OTHER_CHUNKS)
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        position += 8 + length + length % 2


def _limit(what: str, count: int, most: int) -> None:
    if count > most:
        raise UploadRefused("image_too_costly", f"the file has more than {most} {what}; save it anew as PNG")
