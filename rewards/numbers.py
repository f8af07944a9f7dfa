"""What an update's scorers gave, in numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from presets.scoring.scorers import ScorerConfig
from rewards.part import Part


class Scored(Protocol):
    """A turn of a member, `rollout.trajectory.Turn`."""

    @property
    def group(self) -> int: ...

    @property
    def turn(self) -> int: ...

    @property
    def stage(self) -> str: ...

    @property
    def rejected(self) -> str | None: ...

    @property
    def reward_parts(self) -> list[Part] | None: ...


def describe_parts(turns: Sequence[Scored], entries: Iterable[ScorerConfig]) -> dict[str, dict[str, Any]]:
    """Tables of one update by the scorer's name; a scorer without a value in it is left out of the first three.

    `reward_values` are the means of the values as they came; `reward_parts` those of what they are of the reward,
    normalised and weighted; `reward_spread` the means over groups of the parts' standard deviations, which say how much
    each scorer decides. Rejected members are left out. `reward_weights` are the weights of those that count for the
    policy that trains, `reward_missing` the turns that got no value, rejected or not, and `scorer_seconds` the wall
    clock of all calls, which overlap.
    """
    stages = {turn.stage for turn in turns}
    counting = [entry for entry in entries if any(entry.counts_for(stage) for stage in stages)]
    sound = [(turn, part) for turn in turns if turn.rejected is None for part in turn.reward_parts or ()]
    everything = [part for turn in turns for part in turn.reward_parts or ()]
    found: dict[str, dict[str, Any]] = {
        "reward_values": {},
        "reward_parts": {},
        "reward_spread": {},
        "reward_weights": {entry.title: entry.weight for entry in counting},
        "reward_missing": {entry.title: 0 for entry in counting},
        "scorer_seconds": {},
    }
    for entry in counting:
        name = entry.title
        mine = [(turn, part) for turn, part in sound if part.name == name]
        values = [part.value for _, part in mine if np.isfinite(part.value)]
        groups: dict[tuple[int, int], list[float]] = {}
        for turn, part in mine:
            if np.isfinite(part.part):
                groups.setdefault((turn.group, turn.turn), []).append(part.part)
        if values:
            found["reward_values"][name] = float(np.mean(values))
        if groups:
            found["reward_parts"][name] = float(np.mean([part for parts in groups.values() for part in parts]))
            found["reward_spread"][name] = float(np.mean([np.std(parts) for parts in groups.values()]))
        ours = [part for part in everything if part.name == name]
        found["reward_missing"][name] = sum(not np.isfinite(part.value) for part in ours)
        found["scorer_seconds"][name] = float(sum({part.seconds for part in ours}))
    return found
