"""Processes that decode: what they give back, and what happens when one does not."""

import asyncio
import io
import os
import signal
import time

import numpy as np
import pytest
from PIL import Image

from scenes.pictures.size import PictureSize
from scenes.uploads.decoder import DecoderBusy, DecoderLimits, UploadDecoder
from scenes.uploads.refusal import UploadRefused

SIZE = PictureSize(64, 64)


def png(size: int = 64) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (size, size, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def read(decoder: UploadDecoder, *files: bytes) -> list:
    async def all_() -> list:
        return await asyncio.gather(*(decoder.read(data, SIZE) for data in files), return_exceptions=True)

    return asyncio.run(all_())


def processes(decoder: UploadDecoder) -> list[int]:
    return [process.pid for process in decoder._processes]


def test_pixels_come_back_as_they_are_and_refusals_as_such() -> None:
    decoder = UploadDecoder(DecoderLimits(max_pixels=65_536, workers=1))
    image, refused, again = read(decoder, png(), b"no image", png())
    assert np.array_equal(image, np.asarray(Image.open(io.BytesIO(png()))))
    assert np.array_equal(image, again)
    assert isinstance(refused, UploadRefused)
    assert refused.code == "unsupported_image"
    assert len(processes(decoder)) == 1  # one process answered all three


def test_a_process_that_stops_is_ended_and_replaced() -> None:
    decoder = UploadDecoder(DecoderLimits(max_pixels=65_536, workers=1, deadline_s=1.0))
    read(decoder, png())
    (stopped,) = processes(decoder)
    os.kill(stopped, signal.SIGSTOP)
    started = time.monotonic()
    refused, image = read(decoder, png(), png())
    assert isinstance(refused, UploadRefused)
    assert refused.code == "image_too_costly"
    assert image.shape == (64, 64, 3)
    assert time.monotonic() - started < 20
    assert processes(decoder) != [stopped]
    with pytest.raises(ProcessLookupError):
        os.kill(stopped, 0)


def test_a_process_that_dies_of_a_file_costs_that_file() -> None:
    decoder = UploadDecoder(DecoderLimits(max_pixels=65_536, workers=1, deadline_s=30.0))
    read(decoder, png())

    async def shoot() -> list:
        (pid,) = processes(decoder)
        os.kill(pid, signal.SIGSTOP)
        asked = asyncio.gather(decoder.read(png(), SIZE), return_exceptions=True)
        await asyncio.sleep(0.2)
        os.kill(pid, signal.SIGKILL)
        return await asked

    (refused,) = asyncio.run(shoot())
    assert isinstance(refused, UploadRefused)
    assert refused.code == "invalid_image"
    assert read(decoder, png())[0].shape == (64, 64, 3)


def test_computing_is_limited_by_the_kernel() -> None:
    """A file that is within all other limits, with a limit of a second: the kernel ends the process, not the clock."""
    decoder = UploadDecoder(DecoderLimits(max_pixels=2**27, workers=1, deadline_s=60.0, cpu_s=1))
    buffer = io.BytesIO()
    Image.new("RGB", (11_000, 11_000)).save(buffer, "PNG", compress_level=1)
    (refused,) = read(decoder, buffer.getvalue())
    assert isinstance(refused, UploadRefused)
    assert refused.code == "image_too_costly"


def test_memory_is_limited_by_the_kernel() -> None:
    decoder = UploadDecoder(DecoderLimits(max_pixels=65_536, workers=1))
    read(decoder, png())
    (pid,) = processes(decoder)
    with open(f"/proc/{pid}/limits", encoding="ascii") as limits:
        (line,) = [line for line in limits if line.startswith("Max address space")]
    assert int(line.split()[3]) == 512 * 2**20 + 64 * 65_536


def test_as_many_wait_as_the_queue_holds() -> None:
    decoder = UploadDecoder(DecoderLimits(max_pixels=65_536, workers=1, queue=2))
    found = read(decoder, *[png()] * 6)
    assert [isinstance(one, DecoderBusy) for one in found] == [False] * 3 + [True] * 3
    assert read(decoder, png())[0].shape == (64, 64, 3)  # places are free again


def test_a_client_that_goes_leaves_its_place() -> None:
    decoder = UploadDecoder(DecoderLimits(max_pixels=65_536, workers=1, queue=1, deadline_s=2.0))

    async def leave() -> None:
        tasks = [asyncio.create_task(decoder.read(png(), SIZE)) for _ in range(2)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(leave())
    ends = time.monotonic() + 20
    while decoder._pending:
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_the_process_knows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLRIG_TOKEN", "a-token-of-enough-characters")
    decoder = UploadDecoder(DecoderLimits(max_pixels=65_536, workers=1))
    read(decoder, png())
    (pid,) = processes(decoder)
    with open(f"/proc/{pid}/environ", "rb") as environment:
        assert b"RLRIG_TOKEN" not in environment.read()
