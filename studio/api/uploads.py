"""The file of a request as pixels, or as an error that names the file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache

import numpy as np

from scenes.pictures.size import PictureSize
from scenes.uploads.decoder import DecoderBusy, DecoderLimits, UploadDecoder
from scenes.uploads.refusal import UploadRefused
from studio.config import GatewayConfig
from studio.errors import ApiError

_STATUSES = {"image_too_large": 413, "unsupported_image": 415}


def decoder_for(config: GatewayConfig) -> UploadDecoder:
    """The decoder with these limits; a process has one of each kind."""
    return _decoder(
        DecoderLimits(
            max_pixels=config.max_pixels,
            workers=config.decode_workers,
            queue=config.decode_queue,
            deadline_s=config.decode_deadline_s,
            cpu_s=config.decode_cpu_s,
        )
    )


_decoder = cache(UploadDecoder)


@asynccontextmanager
async def late_refusals(seconds: float) -> AsyncIterator[None]:
    """An `ApiError` from within goes on after so many seconds. Reading a form costs the same whether it is taken or
    not, and only what is taken is limited by the models' own pace."""
    try:
        yield
    except ApiError:
        await asyncio.sleep(seconds)
        raise


async def read_upload(data: bytes, decoder: UploadDecoder, max_bytes: int, size: PictureSize) -> np.ndarray:
    """The uploaded image as uint8 (height, width, 3): turned as its EXIF data says, transparency laid over white,
    scaled to `size`.

    Raises:
        ApiError: 413 for more than `max_bytes` bytes or too many pixels, 415 for anything but PNG, JPEG and WebP, 400
            for a file that is damaged, animated, of another ratio or too costly to decode, 429 where too many others
            wait.
    """
    try:
        if len(data) > max_bytes:
            raise UploadRefused("image_too_large", f"the file has {len(data)} bytes; send at most {max_bytes}")
        return await decoder.read(data, size)
    except UploadRefused as error:
        status = _STATUSES.get(error.code, 400)
        raise ApiError(status, f"image: {error.message}", param="image", code=error.code) from error
    except DecoderBusy as error:
        raise ApiError(
            429, f"image: {error}; send it again later", param="image", code="too_many_uploads",
            headers={"Retry-After": "1"},
        ) from error  # fmt: skip
