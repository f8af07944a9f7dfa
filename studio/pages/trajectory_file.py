"""Rows of a run's trajectory files, read in pieces, so that an update of many large images fits in memory."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from rollout.reporting.gallery import picture
from rollout.trajectory import SCHEMA, check_schema
from serving.pages.run_index import NotThere

if TYPE_CHECKING:
    from serving.pages.run_index import RunsFolder

Row = dict[str, Any]
HEAVY = ("image_before", "image_after", "flow", "token_ids", "token_log_probs", "scene_graph", "request")
LIGHT = tuple(name for name in SCHEMA.names if name not in HEAVY)
_ROWS_AT_ONCE = 16


class DamagedFile(ValueError):
    """A trajectory file cannot be read; the message can be shown."""


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
        for entry in entries:
            stem, _, ending = entry.name.partition(".")
            ours = ending == "parquet" and stem.isascii() and stem.isdigit()
            if ours and (entry.is_file(follow_symlinks=False) or (entry.is_file() and folder.inside(Path(entry.path)))):
                found[int(stem)] = Path(entry.path)
    return found


def read_rows(
    folder: RunsFolder, run: Path, update: int, columns: Sequence[str], wanted: Callable[[Row], bool] | None = None
) -> list[Row]:
    """Rows of one update, all or those `wanted`, with these columns.

    Raises:
        NotThere: the update has no file.
        DamagedFile: the file is not whole, or of another schema.
    """
    return [row for row in each_row(folder, run, update, columns) if wanted is None or wanted(row)]


def each_row(folder: RunsFolder, run: Path, update: int, columns: Sequence[str]) -> Iterator[Row]:
    """The rows of one update one after the other, few of them in memory.

    Raises:
        NotThere, DamagedFile: as `read_rows`.
    """
    path = file_of(folder, run, update)
    place = f"trajectories/{path.name}"
    try:
        with pq.ParquetFile(path) as file:
            check_schema(file.schema_arrow)
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=list(columns)):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:  # whose words may tell a path
        raise DamagedFile(f"{place} is left out: it is not a whole Parquet file ({type(error).__name__})") from error
    except ValueError as error:
        raise DamagedFile(f"{place} is left out: {error}") from error


def key_of(row: Row) -> tuple[int, int, int]:
    """Group, turn and member, which name a row of an update."""
    return row["group"], row["turn"], row["member"]


def failed(row: Row) -> bool:
    """Whether a member's answer could not be parsed, or it was rejected."""
    return row["edit_prompt"] is None or row["rejected"] is not None


def shown_image(png: bytes | None, largest: int) -> str | None:
    """PNG bytes as a data URI, made smaller where higher or wider than `largest` pixels; None where there is no image
    that can be read."""
    if png is None:
        return None
    try:
        with Image.open(io.BytesIO(png)) as image:
            image.verify()
        return picture(png, largest)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
