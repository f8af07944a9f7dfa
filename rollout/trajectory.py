"""Trajectories as Arrow: one row for each turn of each member of a group.

The same table is what streams, what is written as Parquet, and what training can be replayed from. Images are PNG
bytes, flow latents are float32 bytes in C order beside their shape. Every column carries its meaning as field metadata
(`doc`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from actors.flow_path import FlowPath
from scenes.png import decode_png, encode_png
from scenes.whole_file import whole_file

SCHEMA_VERSION = 4
ADDED = {3: ("unread", "truncated")}
"""Columns that tables of an older version lack; they are read as null."""


@dataclass(frozen=True)
class TurnSeconds:
    """Seconds of the batch that this turn was part of, by phase. `draw` is all of a job's first images, checked."""

    draw: float = 0.0
    reflect: float = 0.0
    edit: float = 0.0
    check: float = 0.0

    def __sub__(self, other: TurnSeconds) -> TurnSeconds:
        return TurnSeconds(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, eq=False)
class Turn:
    """One turn of one member: the image it started from, what the Actor wrote, what the Inverse Diffuser made of it.

    Where the Actor's answer could not be parsed, `reflection`, `edit_prompt` and `image_after` are None.
    """

    run: str
    prompt: int  # position in the run's stream of prompts
    prompt_id: str
    scene_graph: dict[str, Any]  # a LAION-SG record
    stage: str  # the policy that trains: actor or editor
    started: int  # updates that were complete when the prompt was started
    update: int  # update that trains on it; -1 until that is known
    group: int
    member: int
    turn: int
    carried_on: bool  # whether the next turn starts from this member's image
    actor_version: int
    editor_version: int
    image_before: np.ndarray  # uint8 (height, width, 3)
    image_after: np.ndarray | None
    request: str
    reflection: str | None
    edit_prompt: str | None
    answer_text: str
    token_ids: list[int]
    token_log_probs: list[float]
    requirements: list[str]
    satisfaction_before: list[float]  # yes-probability of each requirement
    satisfaction_after: list[float]
    reward_before: float
    reward: float
    advantage: float | None = None  # None until the group is complete
    dropped: bool = False  # the group's rewards were all equal, or fewer than two members were left
    rejected: str | None = None  # why this member takes no part in its group
    unread: str | None = None  # why the answer could not be parsed
    truncated: bool | None = None  # whether max_answer_tokens cut the answer off; None: not known
    flow: FlowPath | None = None
    draw_seed: int | None = None
    actor_seed: int | None = None
    edit_seed: int | None = None
    seconds: TurnSeconds = field(default_factory=TurnSeconds)
    compute_seconds: TurnSeconds = field(default_factory=TurnSeconds)


def _column(name: str, kind: pa.DataType, doc: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"doc": doc})


_FLOW = pa.struct(
    [
        _column("latents", pa.binary(), "little-endian float32, C order"),
        _column("shape", pa.list_(pa.int32()), "steps + 1, tokens, channels"),
        _column("sigmas", pa.list_(pa.float32()), "noise level of each state"),
        _column("log_probs", pa.list_(pa.float32()), "log-probability of each step, mean over tokens and channels"),
        _column("eta", pa.float64(), "noise level of the sampler"),
    ]
)
_SECONDS = pa.struct([pa.field(name, pa.float64(), nullable=False) for name in ("draw", "reflect", "edit", "check")])

SCHEMA = pa.schema(
    [
        _column("run", pa.string(), "name of the run"),
        _column("prompt", pa.int64(), "position in the run's stream of prompts, from 0"),
        _column("prompt_id", pa.string(), "img_id of the scene graph"),
        _column("scene_graph", pa.string(), "LAION-SG record, JSON"),
        _column("stage", pa.string(), "policy that trains: actor or editor"),
        _column("started", pa.int64(), "updates that were complete when the prompt was started"),
        _column("update", pa.int64(), "update that trains on the group, from 0"),
        _column("group", pa.int64(), "group within the run"),
        _column("member", pa.int64(), "member within the group"),
        _column("turn", pa.int64(), "turn within the episode, from 0"),
        _column("carried_on", pa.bool_(), "the next turn starts from this image"),
        _column("actor_version", pa.int64(), "weight version of the Actor that answered"),
        _column("editor_version", pa.int64(), "weight version of the Inverse Diffuser that edited"),
        _column("image_before", pa.binary(), "PNG"),
        _column("image_after", pa.binary(), "PNG; null where the answer was unparsable", nullable=True),
        _column("request", pa.string(), "what the Actor was asked"),
        _column("reflection", pa.string(), "what the Actor saw to be wrong", nullable=True),
        _column("edit_prompt", pa.string(), "what the Inverse Diffuser was told", nullable=True),
        _column("answer_text", pa.string(), "the Actor's answer as it came"),
        _column("token_ids", pa.list_(pa.int32()), "tokens of the answer"),
        _column("token_log_probs", pa.list_(pa.float32()), "log-probability of each token at sampling"),
        _column("requirements", pa.list_(pa.string()), "triples that the image should satisfy"),
        _column("satisfaction_before", pa.list_(pa.float32()), "yes-probability of each requirement"),
        _column("satisfaction_after", pa.list_(pa.float32()), "yes-probability of each requirement"),
        _column("reward_before", pa.float64(), "reward of image_before"),
        _column("reward", pa.float64(), "reward of image_after"),
        _column("advantage", pa.float64(), "of this member in its group", nullable=True),
        _column("dropped", pa.bool_(), "the group carried no signal"),
        _column("rejected", pa.string(), "why this member takes no part in its group", nullable=True),
        _column("unread", pa.string(), "why the answer could not be parsed", nullable=True),
        _column("truncated", pa.bool_(), "max_answer_tokens cut the answer off; null: not known", nullable=True),
        _column("flow", _FLOW, "stochastic denoising steps; null where the editor is not trained", nullable=True),
        _column("draw_seed", pa.int64(), "seed of the first image", nullable=True),
        _column("actor_seed", pa.int64(), "seed of the Actor's answer", nullable=True),
        _column("edit_seed", pa.int64(), "seed of the edit", nullable=True),
        _column("seconds", _SECONDS, "wall clock of the batch, by phase"),
        _column("compute_seconds", _SECONDS, "the part of it in which a model computed, by phase"),
    ],
    metadata={"rlrig.table": "trajectory", "rlrig.version": str(SCHEMA_VERSION)},
)


def _row(turn: Turn) -> dict[str, Any]:
    row = {name: getattr(turn, name) for name in SCHEMA.names}
    row["scene_graph"] = json.dumps(turn.scene_graph)
    row["image_before"] = encode_png(turn.image_before)
    row["image_after"] = None if turn.image_after is None else encode_png(turn.image_after)
    row["seconds"] = asdict(turn.seconds)
    row["compute_seconds"] = asdict(turn.compute_seconds)
    row["flow"] = None if turn.flow is None else turn.flow.to_record()
    return row


def _turn(row: dict[str, Any]) -> Turn:
    row = dict(row)
    row["scene_graph"] = json.loads(row["scene_graph"])
    row["image_before"] = decode_png(row["image_before"])
    row["image_after"] = None if row["image_after"] is None else decode_png(row["image_after"])
    row["seconds"] = TurnSeconds(**row["seconds"])
    row["compute_seconds"] = TurnSeconds(**row["compute_seconds"])
    row["flow"] = None if row["flow"] is None else FlowPath.from_record(row["flow"])
    return Turn(**row)


def to_table(turns: Iterable[Turn]) -> pa.Table:
    """The Arrow table of these turns, a row for each, in their order."""
    return pa.Table.from_pylist([_row(turn) for turn in turns], schema=SCHEMA)


def check_schema(schema: pa.Schema) -> None:
    """Refuse a table that is not a trajectory table of this version, or of one that lacks no more than `ADDED`.

    Raises:
        ValueError: another version, or columns that are missing or of another type.
    """
    version = (schema.metadata or {}).get(b"rlrig.version", b"none").decode()
    lacks = () if version == str(SCHEMA_VERSION) else _lacked_by(version)
    for column in SCHEMA:
        if column.name not in schema.names:
            if column.name in lacks:
                continue
            raise ValueError(f"trajectory table: column {column.name!r} is missing")
        if not schema.field(column.name).type.equals(column.type):
            found = schema.field(column.name).type
            raise ValueError(f"trajectory table: column {column.name!r} is {found}, not {column.type}")


def _lacked_by(version: str) -> tuple[str, ...]:
    for older, lacks in ADDED.items():
        if version == str(older):
            return lacks
    raise ValueError(f"trajectory table: schema version {version}; this code reads version {SCHEMA_VERSION}")


def from_table(table: pa.Table) -> list[Turn]:
    """The turns of an Arrow table.

    Raises:
        ValueError: the table is of another schema or version.
    """
    check_schema(table.schema)
    return [_turn(row) for row in table.select([n for n in SCHEMA.names if n in table.schema.names]).to_pylist()]


def write_parquet(turns: Iterable[Turn], path: Path) -> Path:
    """Write turns to `path`; the file appears complete or not at all.

    Raises:
        OSError: the file cannot be written, for example because the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        pq.write_table(to_table(turns), partial, compression="zstd")
    return path


def read_parquet(path: Path) -> list[Turn]:
    """The turns of one Parquet file, or of all `*.parquet` files of a folder in the order of their names.

    Raises:
        ValueError: a file of another schema or version; the message names the file.
    """
    turns: list[Turn] = []
    for file in sorted(path.glob("*.parquet")) if path.is_dir() else [path]:
        try:
            turns += from_table(pq.read_table(file))
        except (ValueError, pa.ArrowInvalid) as error:
            raise ValueError(f"{file}: {error}") from error
    return turns
