"""Small files of a run as text."""

from __future__ import annotations

import stat
from pathlib import Path

from scenes.harmless_text import harmless

MOST_BYTES = 1 << 20


def read_text(path: Path) -> tuple[str, list[str]]:
    """The text of a file, empty with the reason where it is too large or cannot be read; empty where there is none."""
    try:
        if not path.exists():
            return "", []
        if not stat.S_ISREG(path.stat().st_mode):
            return "", [f"{path.name} is left out: it is no file"]
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        return "", [f"{path.name} is left out: it cannot be read ({type(error).__name__})"]
    if len(content) > MOST_BYTES:
        return "", [f"{path.name} is left out: it is larger than {MOST_BYTES} bytes"]
    try:
        return content.decode("utf-8"), []
    except UnicodeDecodeError:
        return "", [f"{path.name} is left out: it is no UTF-8"]


def lies_in(path: Path, root: Path) -> bool:
    """Whether there is a file at this path, and it lies in `root`, links followed."""
    return path.is_file() and path.resolve().is_relative_to(root.resolve())


def bytes_of(path: Path, root: Path, most: int = MOST_BYTES) -> bytes | None:
    """A file of at most `most` bytes; None where there is none that lies in `root`, links followed."""
    return path.read_bytes() if lies_in(path, root) and path.stat().st_size <= most else None


def end_of(path: Path, root: Path, most: int = MOST_BYTES) -> str:
    """The last `most` bytes of a file as text to be shown; empty where there is none that lies in `root`."""
    if not lies_in(path, root):
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - most))
        return harmless(file.read(most).decode("utf-8", errors="replace"), most)
