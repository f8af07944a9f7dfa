"""Decodes uploads in processes of their own, a few at a time, each for a bounded time."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scenes.pictures.size import PictureSize
from scenes.uploads.refusal import UploadRefused
from scenes.uploads.worker import ANSWER, READY, REQUEST

_ROOT = Path(__file__).resolve().parents[2]
_ENVIRONMENT = ("PATH", "LANG", "LD_LIBRARY_PATH", "PYTHONHOME")  # no secrets for a process that strangers feed
_BASE_MEMORY, _BYTES_PER_PIXEL = 512 * 2**20, 64
_MAX_REFUSAL = 1000
_START_DEADLINE_S = 60.0
_SLOW = "the file takes too long to decode; save it anew as PNG"


class DecoderBusy(RuntimeError):
    """As many uploads wait as the decoder takes."""


@dataclass(frozen=True)
class DecoderLimits:
    """What decoding may cost.

    Attributes:
        max_pixels: of one image, checked before it is decoded.
        workers: processes, so that many images are decoded at once.
        queue: images that may wait for one of them.
        deadline_s: seconds after which a process that has not answered is ended.
        cpu_s: seconds of computing that one image may take; the kernel ends a process that takes more.
    """

    max_pixels: int
    workers: int = 2
    queue: int = 16
    deadline_s: float = 15.0
    cpu_s: int = 2


class UploadDecoder:
    """A few processes that decode uploads. They start when they are needed, and again after they have died."""

    def __init__(self, limits: DecoderLimits) -> None:
        self._limits = limits
        # Threads that only wait; not those of the event loop, in which answers are encoded.
        self._threads = ThreadPoolExecutor(limits.workers, thread_name_prefix="decode")
        self._own, self._processes = threading.local(), set[subprocess.Popen[bytes]]()
        self._lock, self._pending = threading.Lock(), 0
        weakref.finalize(self, _end_all, self._processes)

    async def read(self, data: bytes, size: PictureSize) -> np.ndarray:
        """The image as uint8 (height, width, 3); see `read_picture`.

        Raises:
            UploadRefused: it cannot be decoded, or not within the limits.
            DecoderBusy: too many others wait.
        """
        pixels = await asyncio.wrap_future(self._submit(data, size))
        return np.frombuffer(pixels, np.uint8).reshape(size.shape)

    def _submit(self, data: bytes, size: PictureSize) -> Future[bytes]:
        with self._lock:
            if self._pending >= self._limits.workers + self._limits.queue:
                raise DecoderBusy(f"{self._pending} uploads wait to be decoded")
            self._pending += 1
        future = self._threads.submit(self._decode, data, size)
        future.add_done_callback(self._done)
        return future

    def _done(self, _: Future[bytes]) -> None:
        with self._lock:
            self._pending -= 1

    def _decode(self, data: bytes, size: PictureSize) -> bytes:
        """The RGB bytes that this thread's process answers."""
        process = self._process()
        with _ended_after(process, self._limits.deadline_s) as overdue:
            answered = _ask(process, data, size)
        if answered is None or overdue.is_set():
            code = self._discard(process)
        if answered is not None:
            read, answer = answered
            if read:
                return answer
            raise UploadRefused(*answer.decode().split("\n", 1))
        if overdue.is_set() or code == -signal.SIGXCPU:
            raise UploadRefused("image_too_costly", _SLOW)
        if code < 0:
            raise UploadRefused("invalid_image", "the decoder ended on the file; save it anew as PNG")
        raise RuntimeError(f"the process that decodes uploads ended with exit code {code}")

    def _process(self) -> subprocess.Popen[bytes]:
        """This thread's process, started where there is none that runs."""
        process: subprocess.Popen[bytes] | None = getattr(self._own, "process", None)
        if process is not None:
            if process.poll() is None:
                return process
            self._discard(process)
        limits = self._limits
        memory = _BASE_MEMORY + _BYTES_PER_PIXEL * limits.max_pixels
        self._own.process = process = subprocess.Popen(
            [sys.executable, "-P", "-m", "scenes.uploads.worker",
             str(limits.max_pixels), str(limits.cpu_s), str(memory)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**{name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                 "PYTHONPATH": os.pathsep.join([str(_ROOT), *filter(None, sys.path)])},
        )  # fmt: skip
        self._processes.add(process)
        assert process.stdout is not None
        with _ended_after(process, _START_DEADLINE_S):  # not counted as the first image's time
            ready = process.stdout.read(len(READY)) == READY
        if not ready:
            raise RuntimeError(f"the process that decodes uploads ended with exit code {self._discard(process)}")
        return process

    def _discard(self, process: subprocess.Popen[bytes]) -> int:
        """End this thread's process; its exit code."""
        process.kill()
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()
        self._processes.discard(process)
        self._own.process = None
        return code


@contextmanager
def _ended_after(process: subprocess.Popen[bytes], seconds: float) -> Iterator[threading.Event]:
    """End a process that is still at work after so many seconds; the event tells whether it was."""
    overdue = threading.Event()

    def end() -> None:
        overdue.set()
        process.kill()

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        yield overdue
    finally:
        timer.cancel()
        timer.join()


def _ask(process: subprocess.Popen[bytes], data: bytes, size: PictureSize) -> tuple[bool, bytes] | None:
    """Whether the process could read the file, and what it answers; None where it ended before it did."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.write(REQUEST.pack(len(data), *size) + data)
        process.stdin.flush()
        head = process.stdout.read(ANSWER.size)
        if len(head) == ANSWER.size:
            read, length = ANSWER.unpack(head)
            expected = length == size.pixels * 3 if read else length <= _MAX_REFUSAL
            answer = process.stdout.read(length) if expected else b""
            if expected and len(answer) == length:
                return bool(read), answer
    return None


def _end_all(processes: set[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.kill()
        process.wait()
