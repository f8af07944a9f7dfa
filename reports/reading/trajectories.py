"""A run's trajectory files, read in parts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from reports.reading.table import Row, Table
from rollout.trajectory import SCHEMA, check_schema

STAGES = ("actor", "editor")
HEAVY = ("image_before", "image_after", "flow", "token_ids", "token_log_probs", "scene_graph", "request")
LIGHT = tuple(name for name in SCHEMA.names if name not in HEAVY)
MOST_FILES = 20_000
_KEYS = ("prompt", "update", "group", "member", "turn", "stage")


class Trajectories:
    """One file of a folder `trajectories`. `faults` say what was wrong with the rows that were read."""

    def __init__(self, path: Path) -> None:
        self._table = Table(path, f"trajectories/{path.name}", SCHEMA, check_schema, _KEYS, HEAVY)

    @property
    def faults(self) -> list[str]:
        """Each kind once, with its place."""
        return self._table.faults

    def rows(self, columns: Sequence[str], only: Collection[int] | None = None) -> Iterator[tuple[int, Row]]:
        """Rows with their numbers, all or those `only`; those of no policy are left out.

        Raises:
            DamagedFile: the file cannot be read.
        """
        for number, row in self._table.rows(columns, only):
            if row.get("stage", STAGES[0]) in STAGES:
                yield number, row
            else:
                self._table.fault(f"stage is {row['stage'][:20]!r}, the row is left out", number)


def read_rows(path: Path, columns: Sequence[str]) -> tuple[list[Row], list[str]]:
    """The rows of a file with these columns, and what was wrong with others.

    Raises:
        DamagedFile: the file cannot be read.
    """
    file = Trajectories(path)
    rows = [row for _, row in file.rows(columns)]
    return rows, file.faults
