"""Trajectories as Arrow: one row for each turn of each member of a group.

The same table is what streams, what is written as Parquet, and what training can be replayed from. Images are PNG
bytes, flow latents are float32 bytes in C order beside their shape. Every column carries its meaning as field metadata
(`doc`).

An EnvRunner makes the PNG bytes. The driver passes them on, and decodes only where it needs pixels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from actors.flow_path import FlowPath, from_array, to_array
from learner.saving.picture_tables import PICTURES, write_tables
from presets.keep import KeepConfig
from rewards.part import Part
from rewards.part_table import PARTS, parts_from_rows, parts_to_rows
from scenes.columns.pictures import picture_array, pictures_in
from scenes.png import Picture, encode_together
from scenes.whole_file import whole_file

SCHEMA_VERSION = 6
_PARTS = ("reward_parts",)
ADDED: dict[int, tuple[str, ...]] = {5: _PARTS, 4: _PARTS, 3: ("unread", "truncated", *_PARTS)}
"""Columns that tables of an older version lack; they are read as null. Until version 4 every row has `image_before`."""
_FULL_ROWS, _FULL_BYTES, _MOST_BYTES = 64, 1 << 26, 1 << 28  # of a part of a file, which a reader takes in at once


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

    Where the Actor's answer could not be parsed, `reflection`, `edit_prompt` and `image_after` are None. Pictures and
    `flow` are None as well where they were not kept, see `presets.keep`.
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
    image_before: Picture | None  # the members of a group share it
    image_after: Picture | None
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
    reward_parts: list[Part] | None = None  # of each scorer; None: not known, or nothing was edited
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

    @property
    def start(self) -> np.ndarray:
        """The pixels of `image_before`, uint8 (height, width, 3).

        Raises:
            ValueError: it was not kept.
        """
        if self.image_before is None:
            raise ValueError(f"update {self.update}, group {self.group}: the image before was not kept")
        return self.image_before.pixels

    def kept(self, keep: KeepConfig) -> Turn:
        """The turn without what `keep` leaves out of files."""
        turn = self if keep.images(self.stage) else replace(self, image_before=None, image_after=None)
        return turn if keep.latents(self.stage) else replace(turn, flow=None)


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
        _column("image_before", pa.binary(), "PNG; null where it was not kept", nullable=True),
        _column("image_after", pa.binary(), "PNG; null where there was no edit, or it was not kept", nullable=True),
        _column("request", pa.string(), "what the Actor was asked"),
        _column("reflection", pa.string(), "what the Actor saw to be wrong", nullable=True),
        _column("edit_prompt", pa.string(), "what the Inverse Diffuser was told", nullable=True),
        _column("answer_text", pa.string(), "the Actor's answer as it came"),
        _column("token_ids", pa.list_(pa.int32()), "tokens of the answer"),
        _column("token_log_probs", pa.list_(pa.float32()), "log-probability of each token at sampling"),
        _column("requirements", pa.list_(pa.string()), "what the image should show, in words"),
        _column("satisfaction_before", pa.list_(pa.float32()), "yes-probability of each requirement"),
        _column("satisfaction_after", pa.list_(pa.float32()), "yes-probability of each requirement"),
        _column("reward_before", pa.float64(), "reward of image_before"),
        _column("reward", pa.float64(), "reward of image_after"),
        _column("reward_parts", PARTS, "what each scorer gave; null where nothing was edited", nullable=True),
        _column("advantage", pa.float64(), "of this member in its group", nullable=True),
        _column("dropped", pa.bool_(), "the group carried no signal"),
        _column("rejected", pa.string(), "why this member takes no part in its group", nullable=True),
        _column("unread", pa.string(), "why the answer could not be parsed", nullable=True),
        _column("truncated", pa.bool_(), "max_answer_tokens cut the answer off; null: not known", nullable=True),
        _column("flow", _FLOW, "stochastic denoising steps; null where there are none, or not kept", nullable=True),
        _column("draw_seed", pa.int64(), "seed of the first image", nullable=True),
        _column("actor_seed", pa.int64(), "seed of the Actor's answer", nullable=True),
        _column("edit_seed", pa.int64(), "seed of the edit", nullable=True),
        _column("seconds", _SECONDS, "wall clock of the batch, by phase"),
        _column("compute_seconds", _SECONDS, "the part of it in which a model computed, by phase"),
    ],
    metadata={"rlrig.table": "trajectory", "rlrig.version": str(SCHEMA_VERSION)},
)

_SMALL = pa.schema([column for column in SCHEMA if column.name not in (*PICTURES, "flow")])


def _row(turn: Turn) -> dict[str, Any]:
    row = {name: getattr(turn, name) for name in _SMALL.names}
    row["scene_graph"] = json.dumps(turn.scene_graph)
    row["seconds"] = asdict(turn.seconds)
    row["compute_seconds"] = asdict(turn.compute_seconds)
    row["reward_parts"] = parts_to_rows(turn.reward_parts)
    return row


def _turn(row: dict[str, Any], before: Picture | None, after: Picture | None, flow: FlowPath | None) -> Turn:
    row |= {"image_before": before, "image_after": after, "flow": flow}
    row["scene_graph"] = json.loads(row["scene_graph"])
    row["seconds"] = TurnSeconds(**row["seconds"])
    row["compute_seconds"] = TurnSeconds(**row["compute_seconds"])
    row["reward_parts"] = parts_from_rows(row.get("reward_parts"))
    return Turn(**row)


def to_table(turns: Iterable[Turn]) -> pa.Table:
    """The Arrow table of these turns, a row for each, in their order.

    Raises:
        ValueError: an image is none.
    """
    turns = list(turns)
    encode_together([picture for turn in turns for picture in _pictures(turn)])
    small = pa.Table.from_pylist([_row(turn) for turn in turns], schema=_SMALL)
    large = {name: picture_array([getattr(turn, name) for turn in turns]) for name in PICTURES}
    large["flow"] = to_array([turn.flow for turn in turns], _FLOW)
    return pa.Table.from_arrays([large[n] if n in large else small[n] for n in SCHEMA.names], schema=SCHEMA)


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
    """The turns of an Arrow table. Those with the same image share one `Picture`; none is decoded yet.

    Raises:
        ValueError: the table is of another schema or version.
    """
    check_schema(table.schema)
    known: dict[bytes, Picture] = {}
    before, after = (pictures_in(table[name], known) for name in PICTURES)
    flows = (flow for chunk in table["flow"].chunks for flow in from_array(chunk))
    small = table.select([name for name in _SMALL.names if name in table.schema.names]).to_pylist()
    return [_turn(*parts) for parts in zip(small, before, after, flows, strict=True)]


def write_parquet(turns: Iterable[Turn], path: Path, keep: KeepConfig | None = None) -> Path:
    """Write turns to `path`; the file appears complete or not at all.

    Args:
        keep: what is written of their images and latents; None: all.

    Raises:
        OSError: the file cannot be written, for example because the disk is full.
        ValueError: an image is none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        kept = turns if keep is None else (turn.kept(keep) for turn in turns)
        write_tables((to_table(part) for part in _parts(kept)), SCHEMA, partial)
    return path


def _pictures(turn: Turn) -> list[Picture]:
    return [picture for picture in (turn.image_before, turn.image_after) if picture is not None]


def _parts(turns: Iterable[Turn]) -> Iterator[list[Turn]]:
    """Turns in parts that a reader can hold, a group in one part where that is possible, so that its start is written
    once."""
    part: list[Turn] = []
    written: set[int] = set()  # pictures of the part, by identity
    size = 0
    for turn in turns:
        full = len(part) >= _FULL_ROWS or size >= _FULL_BYTES
        if part and (size >= _MOST_BYTES or (full and turn.group != part[-1].group)):
            yield part
            part, written, size = [], set(), 0
        part.append(turn)
        size += 0 if turn.flow is None else turn.flow.latents.nbytes
        size += sum(len(picture.png) for picture in _pictures(turn) if id(picture) not in written)
        written.update(id(picture) for picture in _pictures(turn))
    if part:
        yield part


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
