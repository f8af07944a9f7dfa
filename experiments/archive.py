"""The archive: the rows of each cell and the record of each training run, each with what it was made from.

It is small, so that it can be kept with the page: whoever reads the page can compute it again, and a measurement of
many hours can be done in parts, on several machines.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.rows import Row, made_from, read_rows, write_rows
from presets.errors import BadInput
from scenes.whole_file import whole_file


class Archive:
    """A folder with `CELL.parquet` and `RUN.json`. What was made from something else is refused, never mixed in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rows(self, name: str, source: str) -> list[Row] | None:
        """The rows of a cell, or None where they are not here.

        Raises:
            BadInput: a file that holds no rows, or rows that were made from anything but `source`.
        """
        path = self.folder / f"{name}.parquet"
        if not path.is_file():
            return None
        self._check(path, made_from(path), source)
        return read_rows(path)

    def keep_rows(self, name: str, rows: Sequence[Row], source: str) -> None:
        """Write the rows of a cell, which were made from `source`."""
        write_rows(rows, self.folder / f"{name}.parquet", source)

    def run(self, name: str, source: str) -> dict[str, Any] | None:
        """The record of a training run, or None where it is not here.

        Raises:
            BadInput: a record of a run with other settings or models than those of `source`.
        """
        path = self.folder / f"{name}.json"
        if not path.is_file():
            return None
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        self._check(path, record["made_from"], source)
        return record

    def keep_run(self, name: str, source: str, record: dict[str, Any]) -> None:
        """Write the record of a training run, which was made from `source`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with whole_file(self.folder / f"{name}.json") as part:
            part.write_text(json.dumps({"made_from": source, **record}, indent=1) + "\n", encoding="utf-8")

    def _check(self, path: Path, found: str, source: str) -> None:
        if found != source:
            raise BadInput(
                f"{path}: was made with other settings, prompts or models than those asked for now; remove the file, "
                "or name another folder with --rows"
            )
