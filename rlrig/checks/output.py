"""Where a command will write is tried before anything expensive starts."""

from __future__ import annotations

import tempfile
from pathlib import Path

from presets.errors import BadInput


def writable_folder(folder: Path, given: str = "--out") -> Path:
    """The folder, made if it is not there.

    Raises:
        BadInput: it is none, or nothing can be written into it; the message names `given`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise BadInput(f"{given} {folder}: cannot be written to: {error.strerror}; choose another folder") from error


def writable_file(file: Path, given: str = "--out") -> Path:
    """The file, whose folder is made if it is not there.

    Raises:
        BadInput: it is a folder, or its folder takes no file; the message names `given`.
    """
    if file.is_dir():
        raise BadInput(f"{given} {file}: is a folder; name a file in it")
    writable_folder(file.parent, given)
    return file
