"""The parts of a reward as Arrow holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from rewards.part import Part


def _number(name: str, doc: str) -> pa.Field:
    return pa.field(name, pa.float64(), nullable=False, metadata={"doc": doc})


PARTS = pa.list_(
    pa.struct(
        [
            pa.field("name", pa.string(), nullable=False, metadata={"doc": "of the scorer"}),
            _number("value", "what it gave; NaN where it gave none"),
            _number("part", "of the reward: normalised and weighted; NaN where it was left out"),
            _number("seconds", "wall clock of the batch"),
        ]
    )
)


def parts_to_rows(parts: Sequence[Part] | None) -> list[dict[str, Any]] | None:
    """As the column holds them."""
    return None if parts is None else [asdict(part) for part in parts]


def parts_from_rows(rows: Sequence[dict[str, Any]] | None) -> list[Part] | None:
    """From the values of the column; None where it is not there."""
    return None if rows is None else [Part(**row) for row in rows]
