"""What stands in the Actor's place without a model: the template, and the oracle that knows the true layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from learner.pretraining.moves import Move, best_move, restatements
from scenes.dialogue import Reflection, edit_prompt
from scenes.dialogues.dialogue import SHAPES
from scenes.extractors import extract, satisfied
from scenes.scene_graph import SceneGraph, parse_prompt
from scenes.shape_world import PREDICATES
from serving.actor import ActorAnswer


@dataclass(frozen=True)
class Asked:
    """A request of the small models' dialogue, read back: the goal, and what the Checker finds unmet."""

    goal: SceneGraph
    unmet: SceneGraph

    @classmethod
    def read(cls, request: str) -> Asked:
        """Of `goal : … . unmet : … . fix ?`."""
        goal, _, rest = request.removeprefix("goal : ").partition(" . unmet : ")
        unmet = rest.removesuffix(" . fix ?")
        return cls(parse_prompt(goal, PREDICATES), parse_prompt(unmet, PREDICATES))


class StandIn:
    """The interface of an Actor; equal seeds give equal answers."""

    compute_seconds = 0.0
    dialogue = SHAPES

    def reflect(
        self, images: Sequence[np.ndarray], requests: Sequence[str], *, temperature: float, seeds: Sequence[int]
    ) -> list[list[ActorAnswer]]:
        """One answer to each request; `temperature` is above 0 where the same was asked before."""
        answers = []
        for image, request, seed in zip(images, requests, seeds, strict=True):
            move = self.move(image, Asked.read(request), np.random.default_rng(seed) if temperature else None)
            reflection = Reflection("stand in", edit_prompt(*move))
            answers.append([ActorAnswer(reflection.text, [], [], 0, reflection)])
        return answers

    def move(self, image: np.ndarray, asked: Asked, rng: np.random.Generator | None) -> Move:
        """Which object goes where. With `rng`, the answer without it did not help."""
        raise NotImplementedError


class TemplateActor(StandIn):
    """Restates the first unmet requirement; where that did not help, any unmet one, from either side."""

    def move(self, image: np.ndarray, asked: Asked, rng: np.random.Generator | None) -> Move:
        moves = restatements(asked.unmet.related)
        return moves[0] if rng is None else moves[int(rng.integers(len(moves)))]


class OracleActor(TemplateActor):
    """Reads the true layout and gives the move that helps most on average; where an object cannot be read, it does as
    the template."""

    def move(self, image: np.ndarray, asked: Asked, rng: np.random.Generator | None) -> Move:
        seen = extract(image)
        objects = tuple(found for name in asked.goal.names if (found := seen.find(name)) is not None)
        unmet = tuple(one for one in asked.goal.related if not satisfied(one, seen))
        if len(objects) < len(asked.goal.names) or not unmet:
            return super().move(image, asked, rng)
        return best_move(unmet, asked.goal, objects)
