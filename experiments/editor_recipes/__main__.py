"""What updates of the editor gain by its recipe, in one process: no engine, and the exact extractor as reward.

    .venv/bin/python -m experiments.editor_recipes 'flow_grpo:' 'nft: learner.editor.algorithm=nft' [--updates 8]

A recipe is a name and settings of the run file. Every recipe starts from the same editor, sees the same drawn scenes in
the same order, each with an edit prompt for one of its unmet requirements, and takes its updates with AdamW as the
learner does. Rewards are the share of requirements that hold, advantages those of `rollout.advantage_scale`. Before and
after, ODE edits of held-out combinations are measured: `achieved`, whether the asked requirement holds, and `gain`, by
how much more requirements hold than before the edit. Intervals are paired bootstraps over edits and trainings, 95 %.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from learner.advantages import batch_scale, group_advantages, has_signal
from learner.policy import new_policy
from learner.pretraining.vlm_tasks import imperfect_state, unmet
from learner.samples import EditorSample
from presets.places import TINY
from presets.run_config import RunConfig
from presets.run_file import load_config
from reports.intervals import Bootstrap, Scores
from rewards.satisfaction import improves
from rewards.truth import holds_in
from rollout.seeds import derive_seed
from scenes.dialogue import edit_prompt
from scenes.shape_world import draw


@dataclass(frozen=True)
class Case:
    """A drawn scene (H, W, 3) uint8, its requirements as texts, and which of them an edit is asked for."""

    image: np.ndarray
    requirements: list[str]
    asked: int
    prompt: str

    def holds(self, image: np.ndarray) -> list[float]:
        """Of each requirement, 1 or 0."""
        return [float(one) for one in holds_in(image, self.requirements)]


def cases(split: str, relations: tuple[int, int], seed: int) -> Iterator[Case]:
    """Scenes of a split without end, each with a requirement that its layout does not meet."""
    rng = np.random.default_rng([seed, split == "train"])
    while True:
        graph, layout = imperfect_state(rng, split, relations)
        missing = unmet(graph, layout)
        chosen = missing[rng.integers(len(missing))]
        texts = [requirement.text for requirement in graph.requirements]
        yield Case(draw(layout), texts, graph.requirements.index(chosen), edit_prompt(*chosen.triple))


class Recipe:
    """An editor that is trained as a run file says.

    Args:
        config: a run file's settings, `learner.editor` without an adapter.
    """

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        fixed = {"image_size": config.diffuser.size.plain, "sampler": config.editor.sampler}
        settings = {**fixed, **config.editor.model_settings}
        self.policy = new_policy("editor", config.models.edits_with, config.learner.editor, settings)
        self.optimizer = torch.optim.AdamW(self.policy.module.parameters(), weight_decay=0.0)

    def group(self, case: Case, update: int, seed: int) -> list[EditorSample] | None:
        """The samples of one group of edits; None where it carries no signal."""
        size = self.config.rollout.group_size
        seeds = [derive_seed(seed, "edit", member) for member in range(size)]
        how = self.config.editor.sampling(self.config.learner.editor.algorithm, update)
        edits = self.policy.model.edit([case.image] * size, [case.prompt] * size, seeds, how)
        before = case.holds(case.image)
        found = [case.holds(edit.image) for edit in edits]
        if self.config.rollout.reward_of == "kept":
            found = [after if improves(before, after) else before for after in found]
        rewards = np.array([np.mean(after) for after in found])
        if not has_signal(rewards, self.config.rollout.least_spread):
            return None
        advantages = group_advantages(rewards, self.config.rollout.advantage_scale)
        return [
            EditorSample(case.image, case.prompt, edit.path, float(advantage), one)
            for edit, advantage, one in zip(edits, advantages, seeds, strict=True)
        ]

    def update(self, samples: Sequence[EditorSample], number: int) -> None:
        """One optimizer step on these samples."""
        learner = self.config.learner.editor
        scale = batch_scale([s.advantage for s in samples]) if self.config.rollout.advantage_scale == "batch" else 1.0
        scaled = [EditorSample(s.image, s.edit_prompt, s.path, s.advantage / scale, s.seed) for s in samples]
        batches = self.policy.batches(scaled)
        terms = sum(batch.count for batch in batches)
        self.optimizer.zero_grad()
        for batch in batches:
            evaluation = self.policy.evaluate(self.policy.module, batch)
            self.policy.loss(batch, evaluation, self.policy.anchor(evaluation).detach(), terms)[0].backward()
        torch.nn.utils.clip_grad_norm_(self.policy.module.parameters(), learner.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learner.learning_rate_at(number)
        self.optimizer.step()

    def measure(self, tests: Sequence[Case]) -> np.ndarray:
        """(N, 2) float64: whether each asked requirement holds after an ODE edit, and the gain."""
        asked = ([one.image for one in tests], [one.prompt for one in tests], list(range(len(tests))))
        edits = self.policy.model.edit(*asked, steps=self.config.editor.ode_steps)
        after = [one.holds(edit.image) for one, edit in zip(tests, edits, strict=True)]
        before = [one.holds(one.image) for one in tests]
        rows = zip(tests, before, after, strict=True)
        return np.array([[held[one.asked], np.mean(held) - np.mean(start)] for one, start, held in rows])


def trained(config: RunConfig, updates: int, tests: Sequence[Case], seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """What `Recipe.measure` finds before and after so many updates, and the seconds that these took."""
    recipe = Recipe(config)
    before, began = recipe.measure(tests), time.monotonic()
    stream, tried = cases("train", config.data.relations, seed), 0
    for number in range(updates):
        samples: list[EditorSample] = []
        while len(samples) < config.rollout.prompts_per_update * config.rollout.group_size:
            tried += 1
            samples += recipe.group(next(stream), number, derive_seed(seed, "group", tried)) or []
        recipe.update(samples, number)
    return before, recipe.measure(tests), time.monotonic() - began


def told(changes: Sequence[np.ndarray]) -> str:
    """The mean of (N,) changes, those of each training, and its 95 % interval over edits and trainings."""
    found = {
        seed: {f"{place:04}": float(one) for place, one in enumerate(values)} for seed, values in enumerate(changes)
    }
    interval = Bootstrap().mean(Scores.from_cells(found))
    return f"{interval.mean:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def main(
    recipes: Annotated[
        list[str], typer.Argument(help="NAME: KEY=VALUE KEY=VALUE …; the others are held against the first.")
    ],
    updates: Annotated[int, typer.Option(min=1, help="Updates of each recipe.")] = 8,
    tests: Annotated[int, typer.Option(min=2, help="Held-out edits.")] = 512,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each recipe.")] = 1,
    seed: Annotated[int, typer.Option(help="Of scenes and noise.")] = 4242,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
) -> None:
    """Print what each recipe gains, and by how much more than the first."""
    torch.set_num_threads(threads)
    stream = cases("held_out", (2, 3), seed)
    held_out = [next(stream) for _ in range(tests)]
    table = Table("recipe", "achieved", "achieved: change", "gain: change", "achieved: against the first", "seconds")
    first: list[np.ndarray] = []
    for recipe in recipes:
        name, _, settings = recipe.partition(":")
        config = load_config(TINY, settings.split())
        found = [trained(config, updates, held_out, seed + number) for number in range(seeds)]
        changes = [after - before for before, after, _ in found]
        against = (
            told([ours[:, 0] - theirs[:, 0] for ours, theirs in zip(changes, first, strict=True)]) if first else ""
        )
        first = first or changes
        achieved = np.mean([after[:, 0].mean() for _, after, _ in found])
        columns = [told([change[:, column] for change in changes]) for column in (0, 1)]
        seconds = np.mean([took for _, _, took in found])
        table.add_row(name, f"{achieved:.3f}", *columns, against, f"{seconds:.0f}")
        Console().print(f"{name}: achieved {achieved:.3f}, change {columns[0]}, gain {columns[1]} {against}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
