"""The row: what one arm made of one prompt, and its Arrow table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from presets.errors import BadInput
from reports.intervals import Scores
from scenes.whole_file import whole_file

SCHEMA_VERSION = 1
PROMPT_SETS = ("two_three", "four_five")
SHARES = ("sg_iou", "entity_iou", "relation_iou", "all_satisfied", "checker", "judge")  # each in [0, 1]
AMOUNTS = ("turns", "model_seconds")  # each 0 or more
METRICS = (*SHARES, *AMOUNTS)
UNTRAINED = -1


@dataclass(frozen=True)
class Row:
    """One image of one arm.

    Raises:
        BadInput: a value outside its range; the message names the field, the value and the range.
    """

    arm: str
    seed: int  # training seed; -1 where nothing is trained
    prompts: str  # two_three | four_five: relations in a prompt
    prompt_id: str
    sg_iou: float
    entity_iou: float
    relation_iou: float
    all_satisfied: float  # 0 or 1
    checker: float  # the Checker's soft score
    judge: float  # the VLM judge's score
    turns: float  # edits used
    model_seconds: float  # seconds of model compute for this image

    def __post_init__(self) -> None:
        if not self.arm or not self.prompt_id:
            raise BadInput(f"row: arm {self.arm!r}, prompt_id {self.prompt_id!r}: neither may be empty")
        where = f"row of arm {self.arm!r}, prompt {self.prompt_id!r}"
        if self.seed < UNTRAINED:
            raise BadInput(f"{where}: seed {self.seed} is below -1; give the training seed, or -1 for untrained arms")
        if self.prompts not in PROMPT_SETS:
            raise BadInput(f"{where}: prompts {self.prompts!r} is not known; give one of {', '.join(PROMPT_SETS)}")
        for name in METRICS:
            value, highest = getattr(self, name), 1.0 if name in SHARES else math.inf
            if not (math.isfinite(value) and 0.0 <= value <= highest):
                limits = "between 0 and 1" if name in SHARES else "finite and 0 or more"
                raise BadInput(f"{where}: {name} {value} must be {limits}")
        if self.all_satisfied not in (0.0, 1.0):
            raise BadInput(f"{where}: all_satisfied {self.all_satisfied} must be 0 or 1")

    @property
    def key(self) -> tuple[str, int, str, str]:
        """What tells a row from every other one."""
        return self.arm, self.seed, self.prompts, self.prompt_id


SCHEMA = pa.schema(
    [
        pa.field("arm", pa.string(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("prompts", pa.string(), nullable=False),
        pa.field("prompt_id", pa.string(), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in METRICS),
    ],
    metadata={"rlrig.table": "result", "rlrig.version": str(SCHEMA_VERSION)},
)


def check_unique(rows: Iterable[Row]) -> None:
    """Refuse a prompt that was counted twice.

    Raises:
        BadInput: two rows of the same arm, seed and prompt.
    """
    seen: set[tuple[str, int, str, str]] = set()
    for row in rows:
        if row.key in seen:
            raise BadInput(
                f"rows: arm {row.arm!r}, seed {row.seed}, {row.prompts}, prompt {row.prompt_id!r} occurs twice; "
                f"keep one row for each"
            )
        seen.add(row.key)


def to_table(rows: Sequence[Row]) -> pa.Table:
    """The Arrow table of these rows, in their order.

    Raises:
        BadInput: two rows of the same arm, seed and prompt.
    """
    check_unique(rows)
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=SCHEMA)


def from_table(table: pa.Table) -> list[Row]:
    """The rows of an Arrow table.

    Raises:
        BadInput: another version, a column that is missing or of another type, an empty cell, or a row that is refused.
    """
    version = (table.schema.metadata or {}).get(b"rlrig.version", b"none").decode()
    if version != str(SCHEMA_VERSION):
        raise BadInput(f"result table: version {version}; this code reads version {SCHEMA_VERSION}; evaluate again")
    for column in SCHEMA:
        if column.name not in table.schema.names:
            raise BadInput(f"result table: column {column.name!r} is missing; evaluate again")
        found = table.schema.field(column.name).type
        if not found.equals(column.type):
            raise BadInput(f"result table: column {column.name!r} is {found}, not {column.type}; evaluate again")
        if empty := table.column(column.name).null_count:
            raise BadInput(f"result table: column {column.name!r} has {empty} empty cells; evaluate again")
    rows = [Row(**values) for values in table.select(SCHEMA.names).to_pylist()]
    check_unique(rows)
    return rows


def write_rows(rows: Sequence[Row], path: Path, source: str = "") -> Path:
    """Write rows to a Parquet file; the file appears complete or not at all. `source` says what they were made from,
    and is what `made_from` reads back.

    Raises:
        BadInput: two rows of the same arm, seed and prompt.
        OSError: the file cannot be written.
    """
    table = to_table(rows)
    table = table.replace_schema_metadata({**table.schema.metadata, b"rlrig.made_from": source.encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        pq.write_table(table, partial, compression="zstd")
    return path


def made_from(path: Path) -> str:
    """What the rows of a Parquet file were made from, as `write_rows` was told; empty where it was told nothing.

    Raises:
        BadInput: not a Parquet file; the message names it.
    """
    try:
        made_from: bytes = (pq.read_schema(path).metadata or {}).get(b"rlrig.made_from", b"")
    except pa.ArrowInvalid as error:
        raise BadInput(f"{path}: {error}") from error
    return made_from.decode()


def read_rows(path: Path) -> list[Row]:
    """The rows of one Parquet file.

    Raises:
        BadInput: not a Parquet file, or a table that `from_table` refuses; the message names the file.
    """
    try:
        return from_table(pq.read_table(path))
    except (BadInput, pa.ArrowInvalid) as error:
        raise BadInput(f"{path}: {error}") from error


def scores_of(rows: Iterable[Row], metric: str) -> Scores:
    """One metric of the rows of one arm on one set of prompts.

    Raises:
        BadInput: an unknown metric, no rows, rows of several arms or sets, a prompt twice, seeds with other prompts.
    """
    rows = list(rows)
    if metric not in METRICS:
        raise BadInput(f"metric: {metric!r} is not known; give one of {', '.join(METRICS)}")
    mixed = sorted({(row.arm, row.prompts) for row in rows})
    if len(mixed) > 1:
        raise BadInput(f"rows: {mixed[0]} and {mixed[1]} are mixed; give those of one arm on one set of prompts")
    check_unique(rows)
    cells: dict[int, dict[str, float]] = {}
    for row in rows:
        cells.setdefault(row.seed, {})[row.prompt_id] = getattr(row, metric)
    try:
        return Scores.from_cells(cells)
    except BadInput as error:
        raise BadInput(f"{' on '.join(mixed[0])}: {error}" if mixed else str(error)) from error
