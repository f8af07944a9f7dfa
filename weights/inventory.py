"""What a folder held when it was written, so that damage is seen before anything is read from it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

INVENTORY = "inventory.json"


def write_inventory(folder: Path) -> None:
    """List every file of `folder` with its digest, in a file beside them."""
    digests = {str(path.relative_to(folder)): _digest(path) for path in _files(folder)}
    (folder / INVENTORY).write_text(json.dumps(digests, indent=1), encoding="utf-8")


def damage(folder: Path) -> str | None:
    """The first thing in `folder` that is not as it was written, in words; None where everything is."""
    try:
        digests = json.loads((folder / INVENTORY).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return f"{INVENTORY} is missing"
    except ValueError:
        return f"{INVENTORY} is damaged"
    for name, digest in digests.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if _digest(path) != digest:
            return f"{name} is not what was written"
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / INVENTORY)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()
