"""The head of a checkpoint: what the driver knows, as JSON. Beside it lie the run file, the schedule, complete groups
as Parquet and the policies as safetensors, so that reading a checkpoint executes nothing."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from presets.errors import BadInput
from scenes.whole_file import whole_file

HEAD, OLD_HEAD = "checkpoint.json", "rllib_checkpoint.json"
TRUST = "--trust-pickles"


class CheckpointHead(BaseModel):
    """What `checkpoint.json` holds."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    format: int = Field(1, ge=1, le=1)
    """Of the whole folder."""
    updates: int = Field(ge=0)
    """Updates that are done."""
    versions: dict[str, int]
    """Of both policies."""
    training_iteration: int = Field(ge=0)
    """RLlib's counter."""


def write_head(head: CheckpointHead, folder: Path) -> None:
    """Write the head; it makes the folder a checkpoint, so it is written last."""
    with whole_file(folder / HEAD) as partial:
        partial.write_text(head.model_dump_json(indent=2), encoding="utf-8")


def read_head(folder: Path) -> CheckpointHead:
    """The head of a checkpoint.

    Raises:
        BadInput: the folder holds none, an unreadable one, or a checkpoint whose state is pickled.
    """
    file = folder / HEAD
    if not file.is_file():
        raise BadInput(f"{folder}: {_why_not(folder)}")
    try:
        return CheckpointHead.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except (ValidationError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"{file} is damaged: {reason}; go on from an earlier checkpoint") from error


def _why_not(folder: Path) -> str:
    if not (folder / OLD_HEAD).is_file():
        return f"there is no {HEAD}; give the folder of a checkpoint"
    return (
        "its state is pickled, as RLlib and older versions of this program write it, and reading it would execute what "
        f"it holds; where you know who made it, add {TRUST} (in Python: trust_pickles=True)"
    )
