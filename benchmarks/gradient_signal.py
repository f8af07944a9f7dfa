"""How much of the editor's gradient is signal: the share that the groups of an update have in common.

    .venv/bin/python -m benchmarks.gradient_signal runs/NAME [--window 0:1 --window 0:2] [--groups 40]

The editor as it lies in the run's preset edits images that the run's Actor asked about. Each group gives the gradient g
of its own loss, with advantages from the exact extractor. Over N groups, |E g|² is estimated without bias by
(|Σ g|² − Σ |g|²) / (N (N − 1)), E |g|² by Σ |g|² / N, and ρ is their ratio. An update with n groups then has a gradient
whose cosine with the true one is sqrt(nρ / (1 + nρ)), where ρ is small. A wider window of stochastic steps costs the
learner a pass more for each.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from actors.flow_path import FlowSde
from benchmarks.training_batches import editor_sample
from learner.advantages import group_advantages, has_signal
from learner.flow_policy import FlowPolicy
from learner.samples import EditorSample
from presets.errors import BadInput
from presets.run_config import RunConfig
from presets.run_file import load_config
from rewards.truth import holds_in
from rollout.trajectory import Turn, read_parquet


@dataclass
class GradientSums:
    """Sums over the groups' gradients, from which the signal is estimated."""

    total: torch.Tensor | None = None
    squares: float = 0.0
    groups: int = 0

    def add(self, gradient: torch.Tensor) -> None:
        """Take in the gradient (P,) of one group."""
        self.total = gradient.clone() if self.total is None else self.total + gradient
        self.squares += float(gradient @ gradient)
        self.groups += 1

    @property
    def signal(self) -> float:
        """ρ = |E g|² / E |g|², without bias in its numerator, which may therefore come out below zero.

        Raises:
            ValueError: fewer than two groups, or gradients that are all zero.
        """
        if self.total is None or self.groups < 2 or self.squares == 0.0:
            raise ValueError(f"{self.groups} groups with squares {self.squares}: two with a gradient are needed")
        common = (float(self.total @ self.total) - self.squares) / (self.groups * (self.groups - 1))
        return common / (self.squares / self.groups)

    def cosine(self, groups: int) -> float:
        """Expected cosine between the mean gradient of so many groups and the true one; 0 where ρ is not positive."""
        strength = groups * max(0.0, self.signal)
        return math.sqrt(strength / (1 + strength))


def asked(run: Path) -> list[Turn]:
    """One turn for each different image and edit prompt of a run.

    Raises:
        BadInput: the run has no trajectories with edits.
    """
    found: dict[tuple[bytes, str], Turn] = {}
    for path in sorted((run / "trajectories").glob("*.parquet")):
        for turn in read_parquet(path):
            if turn.edit_prompt is not None and turn.image_before is not None:
                found.setdefault((turn.image_before.png, turn.edit_prompt), turn)
    if not found:
        raise BadInput(
            f"{run}: has no trajectories with edits and their images; give the folder of a run that has made an "
            "update, and kept its images (keep)"
        )
    return list(found.values())


def groups(policy: FlowPolicy, turns: Sequence[Turn], sde: FlowSde, size: int) -> Iterator[list[EditorSample]]:
    """The samples of each group whose rewards differ, one group of `size` edits for each turn."""
    for number, turn in enumerate(turns):
        assert turn.edit_prompt is not None, "`asked` leaves those out"
        seeds = [number * size + member for member in range(size)]
        edits = policy.model.edit([turn.start] * size, [turn.edit_prompt] * size, seeds, sde)
        rewards = np.array([np.mean(holds_in(edit.image, turn.requirements)) for edit in edits])
        if has_signal(rewards):
            advantages = group_advantages(rewards)
            yield [
                editor_sample(turn.start, turn.edit_prompt, edit, float(advantage))
                for edit, advantage in zip(edits, advantages, strict=True)
            ]


def gradient(policy: FlowPolicy, samples: Sequence[EditorSample]) -> torch.Tensor:
    """The gradient (P,) of the editor's loss on one group, in the order of the parameters."""
    policy.module.zero_grad()
    batches = policy.batches(samples)
    terms = sum(batch.count for batch in batches)
    for batch in batches:
        evaluation = policy.evaluate(policy.module, batch)
        policy.loss(batch, evaluation, policy.anchor(evaluation).detach(), terms)[0].backward()
    return torch.cat([p.grad.flatten() for p in policy.module.parameters() if p.grad is not None])


def measure(
    policy: FlowPolicy, turns: Sequence[Turn], sde: FlowSde, size: int, most: int
) -> tuple[GradientSums, float]:
    """Sums over at most `most` groups, and the seconds of sampling and learning that a group took."""
    sums, began = GradientSums(), time.monotonic()
    for samples in groups(policy, turns, sde, size):
        sums.add(gradient(policy, samples))
        if sums.groups == most:
            break
    return sums, (time.monotonic() - began) / max(1, sums.groups)


def new_policy(config: RunConfig) -> FlowPolicy:
    """The editor that the run began with, all of its transformer trained."""
    learner = config.learner.editor.model_copy(update={"lora": None, "kl_coefficient": 0.0})
    settings = {"image_size": config.diffuser.size.plain, **config.editor.model_settings}
    policy = FlowPolicy(config.models.edits_with, learner, **settings)
    policy.module.requires_grad_(True)
    return policy


def _window(text: str, steps: int) -> tuple[int, int]:
    start, _, stop = text.partition(":")
    if not (start.isdigit() and stop.isdigit() and int(start) < int(stop) < steps):
        raise BadInput(f"--window {text}: give START:STOP with START < STOP < {steps}, the denoising steps")
    return int(start), int(stop)


def main(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    window: Annotated[list[str] | None, typer.Option(help="Stochastic steps START:STOP; may be repeated.")] = None,
    groups: Annotated[int, typer.Option(min=2, help="Groups for each window.")] = 40,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
) -> None:
    """Print the signal of the editor's gradient for each window."""
    torch.set_num_threads(threads)
    config = load_config(run / "config.yaml")
    turns = asked(run)
    windows = [_window(text, config.editor.steps) for text in window or ("0:1", "0:2")]
    policy = new_policy(config)
    table = Table("window", "groups", "ρ of a group", "cosine of an update's gradient", "seconds a group")
    for start, stop in windows:
        sde = FlowSde(steps=config.editor.steps, eta=config.editor.eta, window=(start, stop))
        sums, seconds = measure(policy, turns, sde, config.rollout.group_size, groups)
        update = config.rollout.prompts_per_update * config.rollout.turns
        numbers = (f"{sums.signal:.5f}", f"{sums.cosine(update):.3f}", f"{seconds:.2f}")
        table.add_row(f"[{start}, {stop})", str(sums.groups), *numbers)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
