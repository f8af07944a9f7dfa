"""The process that decodes uploads: `python -m scenes.uploads.worker MAX_PIXELS CPU_S MEMORY`.

It reads requests from its standard input and answers on its standard output, in plain bytes on both sides
(`REQUEST`, `ANSWER`). It ends when its input does. It may die of any request; whoever started it starts another.
"""

from __future__ import annotations

import math
import os
import resource
import struct
import sys
from typing import BinaryIO

REQUEST = struct.Struct("<III")  # the file's bytes, the width and height that are asked for; then the file
ANSWER = struct.Struct("<BI")  # whether it could be read, the bytes that follow: RGB, or a refusal's code and message
READY = b"!"  # comes first, once
_KINDNESS = 10  # lower priority than the process that answers requests


def main(arguments: list[str], requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until they end."""
    max_pixels, cpu_s, memory = (int(argument) for argument in arguments)
    os.nice(_KINDNESS)
    from PIL import Image  # noqa: F401 -- what the libraries map counts as memory, too; so they come first

    from scenes.pictures.size import PictureSize
    from scenes.uploads.picture import read_picture
    from scenes.uploads.refusal import UploadRefused

    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers.write(READY)
    answers.flush()
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        length, *size = REQUEST.unpack(head)
        data = requests.read(length)
        _allow_more(cpu_s)
        try:
            read, answer = True, read_picture(data, max_pixels, PictureSize(*size))
        except UploadRefused as error:
            read, answer = False, f"{error.code}\n{error.message}".encode()
        except MemoryError:
            read, answer = False, b"image_too_large\nthe image needs too much memory; send a smaller one"
        answers.write(ANSWER.pack(read, len(answer)) + answer)
        answers.flush()


def _allow_more(cpu_s: int) -> None:
    """The kernel ends this process when it has used `cpu_s` more seconds, or up to one more: it counts whole ones."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = math.ceil(usage.ru_utime + usage.ru_stime)
    resource.setrlimit(resource.RLIMIT_CPU, (used + cpu_s, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    main(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer)
