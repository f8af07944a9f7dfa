"""What went wrong while a job was sampled and was mended on the spot: counted, beside the turns that came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from rollout.models import Models

_KEY = "rlrig.incidents."


@dataclass(frozen=True)
class Incidents:
    """`replaced`: replicas of the four models and of scorers that were lost and started again. `unanswered`: questions
    that the Checker answered neither with yes nor with no, which count as unmet."""

    replaced: int = 0
    unanswered: int = 0

    @classmethod
    def so_far(cls, models: Models) -> Incidents:
        """As the handles of `models` saw them until now."""
        vlms = models.actor_vlm.replaced + models.checker_vlm.replaced
        fleets = (models.diffuser, models.editor, *models.scorers.values())
        return cls(vlms + sum(fleet.replaced for fleet in fleets), models.checker.unanswered)

    @classmethod
    def beside(cls, table: pa.Table) -> Incidents:
        """Those that `put_beside` wrote; none for a table without."""
        notes = table.schema.metadata or {}
        return cls(**{name: int(notes.get(f"{_KEY}{name}".encode(), b"0")) for name in asdict(cls())})

    def put_beside(self, table: pa.Table) -> pa.Table:
        """The same table, with these numbers in the metadata of its schema."""
        notes = {f"{_KEY}{name}": str(count) for name, count in asdict(self).items()}
        return table.replace_schema_metadata({**(table.schema.metadata or {}), **notes})

    def __add__(self, other: Incidents) -> Incidents:
        return Incidents(self.replaced + other.replaced, self.unanswered + other.unanswered)

    def __sub__(self, other: Incidents) -> Incidents:
        return Incidents(self.replaced - other.replaced, self.unanswered - other.unanswered)
