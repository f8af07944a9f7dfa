"""First images, drawn and checked: those of a job, and those of prompts that are not started yet."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rollout.episode import draw_states
from rollout.groups.job import Drawn, Job, Started
from rollout.seeds import derive_seed
from rollout.state import State
from scenes.scene_graph import SceneGraph

if TYPE_CHECKING:
    from rollout.episode import Players

_MOST_UPDATES = 4  # for whose prompts something is known, however many of them hold already


def first_images(models: Players, job: Job, drawings: int) -> list[State]:
    """The first image of each prompt of a job, checked: the one that came with it, or one that is drawn now."""
    missing = [one for one in job.prompts if one.state is None]
    seeds = [derive_seed(job.seed, "draw", one.prompt) for one in missing]
    drawn = iter(draw_states(models, [one.graph for one in missing], seeds, drawings))
    return [replace(one.state or next(drawn), prompt=one.prompt) for one in job.prompts]


class FirstImages:
    """First images before their prompts are sampled. A prompt whose image holds already then costs no place in a job,
    and an EnvRunner that has nothing to do draws for prompts that come.

    Diffuser and Checker never change, and a seed follows from its prompt's position, so an image is the same whenever
    it is drawn. Nothing of this is in a checkpoint: what is lost is drawn again.

    Images are kept of prompts that are being sampled, and ahead of these of as many as the last update sampled, at
    least one batch and at most two, and of what one call draws.

    Args:
        batch: prompts that an update learns from.
        prompt_at: the scene graph at a position of the run's stream of prompts.

    Attributes:
        drawn: images so far.
    """

    def __init__(self, batch: int, prompt_at: Callable[[int], SceneGraph]) -> None:
        self._batch = self._wanted = batch
        self._prompt_at = prompt_at
        self._states: dict[int, State | None] = {}  # by position; None: the image holds
        self._spare: set[int] = set()  # positions of prompts that have not started, and whose images do not hold
        self._under_way: dict[int, list[int]] = {}  # positions, by EnvRunner
        self._first = self._next = self._open = 0
        self.drawn = 0
        self._waited = self._computed = 0.0

    def ask(self, runner: int, waiting: Sequence[int], first: int, ahead: bool) -> list[int]:
        """What an EnvRunner should draw before it samples: as many as it takes for the prompts that are `waiting` for
        it, if images of some are missing; with `ahead` also where it has nothing to do. `first` is the position of the
        next prompt of the run."""
        if first > self._first:
            self._first, self._next = first, max(first, self._next)
            self._spare = {position for position in self._spare if position >= first}
        missing = [position for position in waiting if position not in self._states]
        if missing:
            more = self._enough(len(missing)) - len(missing)
        elif waiting or not ahead:
            return []
        else:
            under_way = sum(map(len, self._under_way.values()))
            more = self._enough(self._wanted - len(self._spare)) - under_way
        more = max(0, min(more, 2 * self._batch, first + _MOST_UPDATES * self._batch - self._next))
        asked = [*missing, *range(self._next, self._next + more)]
        self._next += more
        if asked:
            self._under_way[runner] = asked
        return asked

    def put(self, runner: int, drawn: Drawn, waited: float) -> None:
        """What an EnvRunner was asked for is there; its prompts have waited for it for so many seconds."""
        self.gave_up(runner)
        self.drawn += len(drawn.states)
        self._waited += waited
        self._computed += drawn.compute_seconds
        for state in drawn.states:
            self._states[state.prompt] = None if state.done else state
            self._open += not state.done
            if state.prompt >= self._first and not state.done:
                self._spare.add(state.prompt)

    def gave_up(self, runner: int) -> bool:
        """An EnvRunner will not give what it was asked for; whether it was asked for anything."""
        return self._under_way.pop(runner, None) is not None

    def failed(self) -> None:
        """Drawing failed: nothing is drawn ahead before the next update."""
        self._wanted = 0

    def holds(self, position: int) -> bool:
        """Whether the image of a prompt is there and leaves nothing to do."""
        return position in self._states and self._states[position] is None

    def started(self, prompts: Iterable[tuple[int, int]]) -> tuple[Started, ...]:
        """Prompts by position and behaviour version as an EnvRunner is given them, with the images that are there."""
        return tuple(Started(p, self._prompt_at(p), version, self._states.get(p)) for p, version in prompts)

    def forget(self, position: int) -> None:
        """A prompt is done."""
        self._states.pop(position, None)

    def used(self, prompts: int) -> None:
        """An update has sampled so many prompts on whose first images something was left to do."""
        self._wanted = min(max(self._batch, prompts), 2 * self._batch)

    def seconds(self) -> tuple[float, float]:
        """What EnvRunners waited for, and what models computed, since this was asked before."""
        found, self._waited, self._computed = (self._waited, self._computed), 0.0, 0.0
        return found

    def _enough(self, wanted: int) -> int:
        """Images of which so many leave something to do, if they are as those so far."""
        return math.ceil(wanted * (self.drawn + 1) / (self._open + 1))
