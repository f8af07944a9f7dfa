"""Rows of a run's trajectory files, read in pieces, so that an update of many large images fits in memory."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from reports.reading.table import Row
from reports.reading.trajectories import MOST_FILES, Trajectories
from studio.pages.run_index import NotThere

if TYPE_CHECKING:
    from studio.pages.run_index import RunsFolder

Numbered = dict[int, Row]


def updates_of(folder: RunsFolder, run: Path) -> list[int]:
    """The updates that have a trajectory file, in their order."""
    return sorted(_files(folder, run))


def file_of(folder: RunsFolder, run: Path, update: int) -> Path:
    """The trajectory file of an update.

    Raises:
        NotThere: there is none.
    """
    path = _files(folder, run).get(update)
    if path is None:
        raise NotThere(f"update {update}: there are no trajectories of it")
    return path


def _files(folder: RunsFolder, run: Path) -> dict[int, Path]:
    place = run / "trajectories"
    if not place.is_dir() or not folder.inside(place):
        return {}
    found = {}
    with os.scandir(place) as entries:  # of a long run, which may hold thousands, only links are followed
        for entry in islice(entries, MOST_FILES):
            stem, _, ending = entry.name.partition(".")
            ours = ending == "parquet" and stem.isascii() and stem.isdigit() and len(stem) < 10
            if ours and (entry.is_file(follow_symlinks=False) or (entry.is_file() and folder.inside(Path(entry.path)))):
                found[int(stem)] = Path(entry.path)
    return found


def read_rows(
    folder: RunsFolder, run: Path, update: int, columns: Sequence[str], only: Collection[int] | None = None
) -> tuple[Numbered, list[str]]:
    """Rows of one update with these columns by number, all or those `only`, and what was wrong with others.

    Raises:
        NotThere: the update has no file.
        DamagedFile: the file is not whole, or of another schema.
    """
    file = Trajectories(file_of(folder, run, update))
    return dict(file.rows(columns, only)), file.faults


def key_of(row: Row) -> tuple[int, int, int]:
    """Group, turn and member, which name a row of an update."""
    return row["group"], row["turn"], row["member"]


def failed(row: Row) -> bool:
    """Whether a member's answer could not be parsed, or it was rejected."""
    return row["edit_prompt"] is None or row["rejected"] is not None
