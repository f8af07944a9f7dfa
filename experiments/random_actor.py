"""An Actor without a model: valid edit prompts drawn at random. The control for what the Actor contributes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scenes.dialogue import Reflection, edit_prompt
from scenes.dialogues.dialogue import SHAPES
from scenes.scene_graph import parse_prompt
from scenes.shape_world import PREDICATES
from serving.actor import ActorAnswer

_GOAL = "goal : "


class RandomActor:
    """Moves one random object of the goal in a random direction of another one. It sees neither image nor judgement."""

    compute_seconds = 0.0
    dialogue = SHAPES

    def reflect(
        self,
        images: Sequence[np.ndarray],
        requests: Sequence[str],
        temperature: float = 0.0,
        seeds: Sequence[int] | None = None,
    ) -> list[list[ActorAnswer]]:
        """One answer to each request; equal seeds give equal answers."""
        if seeds is None:
            raise ValueError("seeds: None is refused; random edit prompts need one seed for each request")
        answers = []
        for request, seed in zip(requests, seeds, strict=True):
            rng = np.random.default_rng(seed)
            goal = request.removeprefix(_GOAL).partition(" . ")[0]
            names = parse_prompt(goal, PREDICATES).names
            answers.append([_answer(names, rng)])
        return answers


def _answer(names: Sequence[str], rng: np.random.Generator) -> ActorAnswer:
    subject, object_ = (names[k] for k in rng.permutation(len(names))[:2])
    move = edit_prompt(subject, str(rng.choice(PREDICATES)), object_)
    reflection = Reflection("random", move)
    return ActorAnswer(reflection.text, [], [], 0, reflection)
