"""Small files of a run as text."""

from __future__ import annotations

import stat
from pathlib import Path

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
