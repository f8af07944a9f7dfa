"""A number that a report shows, with its interval and with what it is of; and the table of all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import pyarrow as pa

INTERVALS = {
    "prompts": "95 % bootstrap over the update's prompts, each drawn with all its members",
    "held_out_prompts": "95 % bootstrap over held-out prompts, paired where it is a difference",
    "updates": "95 % bootstrap over updates",
    "window": "95 % t-interval of the mean over a moving window of 5 updates of the same policy",
}
"""What an interval is over."""


@dataclass(frozen=True)
class Number:
    """One value. `low` and `high` bound its interval, `interval` is a key of `INTERVALS`; None where it has none."""

    run: str
    section: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    interval: str | None = None
    update: int | None = None
    policy: str | None = None
    item: str | None = None

    def as_dict(self) -> dict[str, str | float | int | None]:
        """For JSON."""
        return asdict(self)


def _column(name: str, kind: pa.DataType, doc: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"doc": doc})


NUMBERS_SCHEMA = pa.schema(
    [
        _column("run", pa.string(), "name of the run"),
        _column(
            "section",
            pa.string(),
            "training, time, held_out, difference, comparison, gap, fault, episode, fact or configuration",
        ),
        _column("item", pa.string(), "what of the section: an evaluation, an episode's turn, a phase, …", True),
        _column("update", pa.int64(), "update, from 0; null where it is of the whole run", True),
        _column("policy", pa.string(), "policy that trained: actor or editor", True),
        _column("metric", pa.string(), "what was measured"),
        _column("value", pa.float64(), "the number"),
        _column("low", pa.float64(), "lower end of the interval", True),
        _column("high", pa.float64(), "upper end of the interval", True),
        _column("interval", pa.string(), f"what the interval is over: {', '.join(INTERVALS)}", True),
    ],
    metadata={"rlrig.table": "report", "rlrig.version": "1"},
)


def numbers_table(numbers: Iterable[Number]) -> pa.Table:
    """The numbers in long form, a row for each, in their order."""
    return pa.Table.from_pylist([number.as_dict() for number in numbers], schema=NUMBERS_SCHEMA)
