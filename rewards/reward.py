"""The reward of a run: its scorers asked at the same time, and their values put together."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from actors.fleet import Fleet
from presets.scoring.scorers import ScorerConfig
from presets.settings import RolloutConfig
from rewards.build import Scorer, new_scorer
from rewards.calls import Call, started
from rewards.combination import Scale, combined
from rewards.fleet.fleets import score_in_fleet
from rewards.part import Worth
from rewards.rest import Rest
from rewards.turn import Key, ScoredTurn
from rewards.values import Values, checked_values

Memo = dict[Key, tuple[ScoredTurn, dict[str, float]]]
"""Values by scorer of turns that were scored before. It holds the turns, so that no other image gets their identity."""


class Reward:
    """Scorers that run in this process are made once. What fails of one costs its samples and is logged.

    Args:
        entries: `rewards` of the run file.
        rollout: what `checker` and `length` follow from.
        fleets: of those entries that have one, by the entry's name.

    Raises:
        EntryPointError, ValueError: see `rewards.build.new_scorer`.
    """

    def __init__(
        self,
        rollout: RolloutConfig,
        entries: Sequence[ScorerConfig] | None = None,
        fleets: Mapping[str, Fleet] | None = None,
    ) -> None:
        self.entries = [ScorerConfig()] if entries is None else list(entries)
        self.rollout, self.fleets = rollout, dict(fleets or {})
        self._here: dict[str, Scorer] = {
            entry.title: new_scorer(entry, rollout) for entry in self.entries if entry.fleet is None
        }
        self._rest = Rest()

    def fits(self, rollout: RolloutConfig, entries: Sequence[ScorerConfig]) -> bool:
        """Whether this is the reward of these settings."""
        return self.entries == list(entries) and self.rollout == rollout

    def worth(
        self,
        stage: str,
        turns: Sequence[ScoredTurn],
        scales: Mapping[str, Scale] | None = None,
        memo: Memo | None = None,
    ) -> list[Worth]:
        """What each turn is worth to the policy that trains, see `rewards.combination.combined`. Turns that are alike
        are scored once.

        Args:
            scales: means and deviations of the updates so far, by scorer.
            memo: what was scored before; takes in what is scored now.
        """
        entries = [entry for entry in self.entries if entry.counts_for(stage)]
        memo = {} if memo is None else memo
        values, seconds = self._values(entries, turns, memo)
        return combined(entries, turns, values, scales or {}, seconds)

    def _values(
        self, entries: Sequence[ScorerConfig], turns: Sequence[ScoredTurn], memo: Memo
    ) -> tuple[dict[str, Values], dict[str, float]]:
        """The values of each scorer, one a turn, and its wall clock."""
        for turn in turns:
            memo.setdefault(turn.key, (turn, {}))
        calls: dict[str, tuple[Callable[[], Values], float]] = {}
        at_once: dict[str, Callable[[], Values]] = {}
        wanted: dict[str, list[ScoredTurn]] = {}
        for entry in entries:
            new = {turn.key: turn for turn in turns if entry.title not in memo[turn.key][1]}
            if not new or (not entry.required and self._rest.rests(entry.title)):
                continue
            wanted[entry.title] = list(new.values())
            function = partial(self._score, entry, wanted[entry.title])
            if entry.waits:
                calls[entry.title] = (function, entry.deadline_s)
            else:
                at_once[entry.title] = function
        seconds = self._take_in(started(calls), at_once, wanted, memo)
        found = {entry.title: [memo[turn.key][1].get(entry.title) for turn in turns] for entry in entries}
        return found, seconds

    def _take_in(
        self,
        calls: Mapping[str, Call[Values]],
        at_once: Mapping[str, Callable[[], Values]],
        wanted: Mapping[str, Sequence[ScoredTurn]],
        memo: Memo,
    ) -> dict[str, float]:
        """Wait for all, those that run here first, and write their values into the memo; the seconds of each."""
        seconds: dict[str, float] = {}
        for name, answer in [*at_once.items(), *((name, call.wait) for name, call in calls.items())]:
            began = time.monotonic()
            try:
                values = answer()
            except Exception as error:  # whatever it is, it costs this scorer's samples and not the run
                logging.getLogger(__name__).warning(
                    "scorer %s has no values: %s: %s", name, type(error).__name__, error
                )
                values = []
            seconds[name] = calls[name].seconds if name in calls else time.monotonic() - began
            self._rest.took(name, failed=not values)
            for turn, value in zip(wanted[name], values, strict=False):
                if value is not None:
                    memo[turn.key][1][name] = value
        return seconds

    def _score(self, entry: ScorerConfig, turns: Sequence[ScoredTurn]) -> Values:
        if entry.fleet is not None:
            return score_in_fleet(self.fleets[entry.title], turns)
        given = self._here[entry.title](turns)
        return checked_values(given, len(turns), nan_passes=entry.scorer == "checker")
