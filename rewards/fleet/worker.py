"""A scorer as a Ray actor: `ray.remote(ScorerWorker)`. A fleet of them shares a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from actors.replica import Replica
from presets.scoring.scorers import ScorerConfig
from presets.settings import RolloutConfig
from rewards.turn import ScoredTurn
from rewards.values import Values, checked_values
from scenes.entry_point import is_entry_point

if TYPE_CHECKING:
    from rewards.build import Scorer


@runtime_checkable
class Loads(Protocol):
    """A scorer that loads a model before it scores."""

    def load(self) -> None:
        """Load the model, where it is not."""


class ScorerWorker(Replica):
    """Args:
    entry: what it scores with.
    rollout: what shipped scorers take from it.
    replica: the name by which this one is known.

    Raises:
        EntryPointError, ValueError: see `rewards.build.new_scorer`.
    """

    def __init__(self, entry: ScorerConfig, rollout: RolloutConfig, replica: str = "scorer-0") -> None:
        from rewards.build import new_scorer

        self.replica = f"{entry.title}-{replica}"
        self._batch = entry.fleet.batch if entry.fleet is not None else None
        self._scorer: Scorer = new_scorer(entry, rollout)
        made: object = self._scorer
        if not is_entry_point(entry.scorer) and isinstance(made, Loads):
            made.load()  # here, where `start_deadline_s` counts, and not within the deadline of a first batch

    def score(self, groups: Sequence[Sequence[ScoredTurn]]) -> list[Values]:
        """The values of whole groups, a list for each; None in the place of nonsense.

        Raises:
            ScorerFailed: something else than one value for each turn. Or whatever the scorer raises.
        """
        turns = [turn for group in groups for turn in group]
        size = self._batch or max(1, len(turns))
        values: Values = []
        for first in range(0, len(turns), size):
            part = turns[first : first + size]
            values += checked_values(self._scorer(part), len(part))
        given = iter(values)
        return [[next(given) for _ in group] for group in groups]
