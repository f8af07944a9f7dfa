"""What became of the records of a data set: how many can be used, and why the others cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class LeftOut:
    """Records that cannot be used for one reason."""

    count: int
    first: str


@dataclass
class LoadReport:
    """Counts of the records of one source."""

    source: str
    kept: int = 0
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    """What is odd about the files themselves."""
    without_relations: int = 0
    """Records that can be used, as something else is required of their pictures."""

    def leave(self, reason: str, first: str) -> None:
        """Count a record that cannot be used; `first` says which one it is, where it is the first with this reason."""
        if (known := self.left_out.get(reason)) is not None:
            known.count += 1
        else:
            self.left_out[reason] = LeftOut(1, first)

    @property
    def total(self) -> int:
        return self.kept + sum(one.count for one in self.left_out.values())

    def __str__(self) -> str:
        return f"{self.source}: {self.kept:,} of {self.total:,} records can be used"

    @property
    def notes(self) -> list[str]:
        """What the owner of the data should know: a line for each reason, and one that sums them up."""
        notes = [str(self)] if self.left_out else []
        if self.without_relations:
            count = f"{self.without_relations:,} of the {self.kept:,} have no relations"
            notes.append(f"{self.source}: {count}; something else is required of their pictures")
        for reason, found in sorted(self.left_out.items(), key=lambda one: -one[1].count):
            notes.append(f"{self.source}: {found.count:,} left out, {reason}; the first: {found.first}")
        return notes + [f"{self.source}: {remark}" for remark in self.remarks]
