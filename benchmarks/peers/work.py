"""The work of an update in one process: first images, their edits, and what these are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from actors.edit import Edit
from actors.flow_path import FlowSde
from benchmarks.clock import Clock
from presets.run_config import RunConfig
from rewards.satisfaction import reward_of
from rlrig.local.models import load_models
from rollout.episode import draw_states
from rollout.progress import Progress
from rollout.prompts import load_prompts
from rollout.seeds import derive_seed
from rollout.state import State


class Work:
    """The models of a run in this process, and the prompts of the run in their order.

    Attributes:
        clock: seconds by phase.
    """

    def __init__(self, config: RunConfig, threads: int) -> None:
        self.config, self.clock = config, Clock()
        self.models = load_models(config, Progress())
        torch.set_num_threads(threads)
        self._prompts, self._next = load_prompts(config.data, config.seed), 0

    def states(self, count: int) -> list[State]:
        """The next `count` first images, checked, on which something is left to do."""
        found: list[State] = []
        with self.clock.part("draw"):
            while len(found) < count:
                positions = range(self._next, self._next + count - len(found))
                self._next = positions.stop
                seeds = [derive_seed(self.config.seed, "draw", position) for position in positions]
                drawn = draw_states(self.models, [self._prompts.at(position) for position in positions], seeds)
                placed = zip(positions, drawn, strict=True)
                found += [replace(state, prompt=position) for position, state in placed if not state.done]
        return found

    def edits(
        self, states: Sequence[State], told: Sequence[str | None], seeds: Sequence[int], sde: FlowSde | None = None
    ) -> tuple[list[Edit | None], list[float]]:
        """An edit for each state that was `told` one, and the rewards of all."""
        asked = [index for index, prompt in enumerate(told) if prompt is not None]
        with self.clock.part("edit"):
            made = self.models.editor.edit(
                [states[index].image for index in asked],
                [str(told[index]) for index in asked],
                [seeds[index] for index in asked],
                sde=sde,
                steps=self.config.editor.steps,
            )
        with self.clock.part("check"):
            graphs = [states[index].graph for index in asked]
            found = self.models.checker.satisfaction([edit.image for edit in made], [g.requirements for g in graphs])
        edits: list[Edit | None] = [None] * len(told)
        rewards = [self.config.rollout.unparsable_reward] * len(told)
        for index, edit, satisfaction in zip(asked, made, found, strict=True):
            edits[index], rewards[index] = edit, reward_of(satisfaction, self.config.rollout.reward)
        return edits, rewards
