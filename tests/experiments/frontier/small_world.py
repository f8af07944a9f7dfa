"""Models without networks: drawings at random places, edits that are carried out exactly, a Checker that knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from actors.edit import Edit
from experiments.frontier.playing import Cast
from experiments.frontier.stand_ins import OracleActor, TemplateActor
from experiments.frontier.systems import ORACLE, RAW, TEMPLATE
from learner.pretraining.vlm_tasks import execute
from scenes.dialogue import read_move
from scenes.extractors import extract, satisfied
from scenes.scene_graph import Requirement, parse_prompt
from scenes.shape_world import PREDICATES, draw, sample_layout


class Drawing:
    """Draws what is asked for at random places; `calls` counts images by steps."""

    def __init__(self) -> None:
        self.calls: dict[int, int] = {}

    def draw(self, prompts: Sequence[str], seeds: Sequence[int], steps: int | None = None) -> list[np.ndarray]:
        assert steps is not None
        self.calls[steps] = self.calls.get(steps, 0) + len(prompts)
        return [_drawn(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)]


def _drawn(prompt: str, seed: int) -> np.ndarray:
    names = [(item.attributes[0], item.label) for item in parse_prompt(prompt, PREDICATES).items]
    return draw(sample_layout(names, np.random.default_rng(seed)))


class Editing:
    """Moves the named object to a random place at which the move's relation holds."""

    def __init__(self) -> None:
        self.calls: dict[int, int] = {}

    def edit(
        self, images: Sequence[np.ndarray], prompts: Sequence[str], seeds: Sequence[int], steps: int
    ) -> list[Edit]:
        self.calls[steps] = self.calls.get(steps, 0) + len(prompts)
        edits = []
        for image, prompt, seed in zip(images, prompts, seeds, strict=True):
            move = read_move(prompt)
            assert move is not None
            after = execute(move, extract(image).objects, np.random.default_rng(seed))
            edits.append(Edit(image if after is None else draw(after)))
        return edits


class Knowing:
    """Says 0.9 where a requirement holds in the pixels, else 0.1."""

    unanswered = 0
    compute_seconds = 0.0

    def satisfaction(
        self, images: Sequence[np.ndarray], requirements: Sequence[Sequence[Requirement]]
    ) -> list[list[float]]:
        return [
            [0.9 if satisfied(one, extract(image)) else 0.1 for one in wanted]
            for image, wanted in zip(images, requirements, strict=True)
        ]


def small_cast() -> Cast:
    """A cast whose raw Actor is the template, too."""
    models: Any = (Drawing(), Knowing(), {RAW: TemplateActor(), TEMPLATE: TemplateActor(), ORACLE: OracleActor()})
    editors: Any = {RAW: Editing()}
    return Cast(*models, editors)
