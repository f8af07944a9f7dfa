"""Which policy each update trains: stages one after the other, however many updates they have."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby
from typing import Literal, overload

from pydantic import Field

from scenes.section import Section

Stage = Literal["actor", "editor"]


class StageConfig(Section):
    """A stretch of the run in which one policy trains, or both by turns."""

    stage: Literal["actor", "editor", "alternate"]
    """The policy that trains: the Actor, which writes edit prompts, or the editor (Inverse Diffuser); `alternate`
    switches between them and begins with the Actor."""
    updates: int = Field(ge=1, le=10**12)
    """Weight updates in this stage."""
    switch_every: int = Field(1, ge=1)
    """With `stage: alternate`, updates of one policy before the other has its turn."""

    def policy(self, update: int) -> Stage:
        """The policy that the stage's update number `update` trains."""
        if self.stage != "alternate":
            return self.stage
        return "editor" if update // self.switch_every % 2 else "actor"

    @property
    def policies(self) -> set[Stage]:
        """The policies that train in it."""
        return {self.policy(0), self.policy(min(self.switch_every, self.updates - 1))}

    def count(self, policy: Stage, until: int) -> int:
        """How many of the stage's first `until` updates train `policy`."""
        if self.stage != "alternate":
            return until if self.stage == policy else 0
        rounds, rest = divmod(until, 2 * self.switch_every)
        first = min(rest, self.switch_every)
        return rounds * self.switch_every + (first if policy == "actor" else rest - first)

    def stretch_end(self, update: int) -> int:
        """The update of the stage with which the next stretch of one policy may begin."""
        every = self.switch_every
        return self.updates if self.stage != "alternate" else (update // every + 1) * every


class Schedule(Sequence[Stage]):
    """The policies of all updates, as a sequence that holds only its stages."""

    def __init__(self, stages: Sequence[StageConfig]) -> None:
        self._stages = tuple(stages)
        self._ends = list(accumulate(stage.updates for stage in stages))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, update: int) -> Stage: ...

    @overload
    def __getitem__(self, update: slice) -> Sequence[Stage]: ...

    def __getitem__(self, update: int | slice) -> Stage | Sequence[Stage]:
        if isinstance(update, slice):
            return [self[number] for number in range(*update.indices(len(self)))]
        number = update + len(self) if update < 0 else update
        if not 0 <= number < len(self):
            raise IndexError(f"update {update} of {len(self)}")
        place = bisect_right(self._ends, number)
        return self._stages[place].policy(number - self._begin(place))

    def __iter__(self) -> Iterator[Stage]:
        return (stage.policy(update) for stage in self._stages for update in range(stage.updates))

    def _begin(self, place: int) -> int:
        return self._ends[place - 1] if place else 0

    @property
    def policies(self) -> set[Stage]:
        """The policies that train in some update."""
        return {policy for stage in self._stages for policy in stage.policies}

    def policies_from(self, update: int) -> set[Stage]:
        """The policies that train in this update or in one after it."""
        found: set[Stage] = set()
        while update < len(self) and len(found) < len(self.policies):
            found.add(self[update])
            update = self.next_change(update)
        return found

    def updates_of(self, policy: Stage, since: int = 0) -> int:
        """How many updates train `policy`, from number `since` on."""
        done = [min(max(0, since - self._begin(place)), stage.updates) for place, stage in enumerate(self._stages)]
        return sum(
            stage.count(policy, stage.updates) - stage.count(policy, before)
            for stage, before in zip(self._stages, done, strict=True)
        )

    def plan(self) -> list[tuple[str, int]]:
        """What is trained, in order, with the number of updates: a policy, or `alternate`."""
        runs = groupby(self._stages, key=lambda stage: stage.stage)
        return [(name, sum(stage.updates for stage in stages)) for name, stages in runs]

    def next_change(self, update: int) -> int:
        """The first update from `update` on that trains another policy than it does; behind the last stage, where none
        does, the number of updates."""
        number = update
        while number < len(self):
            if self[number] != self[update]:
                return number
            place = bisect_right(self._ends, number)
            stage, begin = self._stages[place], self._begin(place)
            number = min(self._ends[place], begin + stage.stretch_end(number - begin))
        return len(self)


def shared_out(stages: Sequence[StageConfig], total: int) -> list[StageConfig]:
    """The stages with `total` updates together, in the proportion that they have (largest remainder; where that is
    equal, the earlier stage). A stage that gets none is left out."""
    whole = sum(stage.updates for stage in stages)
    counts = [total * stage.updates // whole for stage in stages]
    rests = sorted(range(len(stages)), key=lambda place: (-(total * stages[place].updates % whole), place))
    for place in rests[: total - sum(counts)]:
        counts[place] += 1
    return [
        stage.model_copy(update={"updates": count}) for stage, count in zip(stages, counts, strict=True) if count > 0
    ]


def ended_at(stages: Sequence[StageConfig], total: int) -> list[StageConfig]:
    """The same stages until update `total`: later ones are left out, or the last one goes on."""
    found, left = [], total
    for place, stage in enumerate(stages):
        count = left if place == len(stages) - 1 else min(stage.updates, left)
        if count > 0:
            found.append(stage.model_copy(update={"updates": count}))
        left -= count
    return found
