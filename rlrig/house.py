"""The rooms of the repository and the files in them, as `docs/architecture.md` lists them: from their docstrings."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from rlrig.page_parts import with_part

NOT_LISTED = ("experiments", "benchmarks")  # rooms whose files carry no part of the system


def rooms(root: Path) -> list[str]:
    """All rooms, the lowest first, from the contract `rooms` in `pyproject.toml`."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers: list[str] = next(contract["layers"] for contract in contracts if contract["id"] == "rooms")
    return layers[::-1]


def room_table(root: Path) -> str:
    """A row for each room, and for each folder in it: name and purpose."""
    rows = ["| room | what is in it |", "| --- | --- |"]
    for room in rooms(root):
        rows += [
            f"| `{_path(root, folder)}/` | {_purpose(folder / '__init__.py')} |" for folder in _folders(root / room)
        ]
    return "\n".join(rows)


def file_tables(root: Path) -> str:
    """For each room that carries the system a heading and a row for each of its files."""
    parts = []
    for room in rooms(root):
        if room in NOT_LISTED:
            continue
        rows = [f"### `{room}/`", "", "| file | what it is |", "| --- | --- |"]
        for folder in _folders(root / room):
            files = sorted(file for file in folder.glob("*.py") if file.name != "__init__.py")
            rows += [f"| [`{_path(root, file)}`](../{_path(root, file)}) | {_purpose(file)} |" for file in files]
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def with_rooms(page: str, root: Path) -> str:
    """The text of `docs/architecture.md` with its tables made anew.

    Raises:
        ValueError: a mark is missing, or a file or folder does not say what it is.
    """
    return with_part(with_part(page, "rooms", room_table(root)), "files", file_tables(root))


def _path(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _folders(room: Path) -> Iterator[Path]:
    """A room, and the packages below it."""
    return (file.parent for file in sorted(room.rglob("__init__.py"), key=lambda file: file.parent.parts))


def _purpose(file: Path) -> str:
    """The first sentence of a module's docstring, on one line, as a cell of a table can hold it."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    if not text:
        raise ValueError(f"{file}: has no docstring; say in one sentence what it is")
    first = " ".join(text.split("\n\n")[0].split())
    sentence = re.split(r"(?<=[.!?])\s+(?=[A-Z`])", first)[0]
    return sentence.replace("|", "\\|")
