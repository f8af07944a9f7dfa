"""Which groups of a run the gallery shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio.pages.trajectory_file import failed

if TYPE_CHECKING:
    from reports.reading.table import Row
    from reports.reading.tail import Line

STAGES = ("actor", "editor")
ALL = "all"


class BadFilter(ValueError):
    """A filter has a value that it cannot have; the message names it."""


@dataclass(frozen=True)
class GroupFilter:
    """Which groups are shown: of this stage and turn (from 1), with a `failed` member (its answer could not be parsed,
    or it was rejected), `dropped` ones. None and False leave all in."""

    stage: str | None = None
    turn: int | None = None
    failed: bool = False
    dropped: bool = False

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> GroupFilter:
        """Read the part of an address behind `?`.

        Raises:
            BadFilter: a value that the filter cannot have.
        """
        stage, turn = query.get("stage", ALL), query.get("turn", ALL)
        if stage not in (ALL, *STAGES):
            raise BadFilter(f"stage: {stage[:40]!r} is none; give {ALL}, {' or '.join(STAGES)}")
        return cls(
            None if stage == ALL else stage,
            None if turn == ALL else whole_number(turn, "turn"),
            query.get("failed", "") == "on",
            query.get("dropped", "") == "on",
        )

    @property
    def query(self) -> dict[str, str]:
        """What `from_query` reads; nothing for what is left as it is."""
        given = {"stage": self.stage, "turn": None if self.turn is None else str(self.turn)}
        switches = {"failed": self.failed, "dropped": self.dropped}
        return {k: v for k, v in given.items() if v is not None} | {k: "on" for k, v in switches.items() if v}

    def of_update(self, line: Line | None) -> bool:
        """Whether an update may hold such groups, as far as its line of metrics tells."""
        if line is None:
            return True
        rejected = sum(line.get("rejected", {}).values())
        return (
            self.stage in (None, line["stage"])
            and (not self.failed or bool(line.get("unparsable", 1) or rejected))
            and (not self.dropped or bool(line.get("groups_dropped", 1)))
        )

    def of_group(self, rows: Sequence[Row]) -> bool:
        """Whether a group is shown. `rows` are its members in one turn."""
        return (
            self.stage in (None, rows[0]["stage"])
            and self.turn in (None, rows[0]["turn"] + 1)
            and (not self.failed or any(failed(row) for row in rows))
            and (not self.dropped or rows[0]["dropped"])
        )


def whole_number(text: str, name: str) -> int:
    """A number from 0 on in a query.

    Raises:
        BadFilter: the text is none.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadFilter(f"{name}: {text[:40]!r} is no whole number from 0 on")
    return int(text)
