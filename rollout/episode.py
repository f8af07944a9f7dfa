"""Episodes: draw, check, and while a requirement is unmet, reflect, edit and check again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from rollout.seeds import derive_seed
from scenes.dialogue import actor_request
from scenes.scene_graph import Requirement, SceneGraph

if TYPE_CHECKING:
    from rollout.models import Models

HOLDS = 0.5


def unmet(graph: SceneGraph, satisfaction: Sequence[float]) -> tuple[Requirement, ...]:
    """The requirements whose yes-probability is below ½."""
    return tuple(r for r, p in zip(graph.requirements, satisfaction, strict=True) if p < HOLDS)


def reward_of(satisfaction: Sequence[float], kind: str) -> float:
    """The fraction of requirements that hold (`hard`), or their mean yes-probability (`soft`); DESIGN §4."""
    values = np.asarray(satisfaction, dtype=float)
    return float(np.mean(values >= HOLDS if kind == "hard" else values))


@dataclass(frozen=True)
class State:
    """An image on its way to a scene graph, and the Checker's yes-probability for each requirement. `prompt` is the
    position in a run's stream of prompts."""

    graph: SceneGraph
    image: np.ndarray
    satisfaction: list[float]
    draw_seed: int
    prompt: int = -1

    @property
    def request(self) -> str:
        """What the Actor is asked about this state."""
        return actor_request(self.graph.requirements, unmet(self.graph, self.satisfaction))

    @property
    def done(self) -> bool:
        """Whether every requirement holds."""
        return not unmet(self.graph, self.satisfaction)


@dataclass(frozen=True)
class Frame:
    """One image of an episode, and the texts that led to it, None for the first image. The seed is that of its drawing
    or edit."""

    image: np.ndarray
    satisfaction: list[float]
    request: str | None = None
    answer: str | None = None
    reflection: str | None = None
    edit_prompt: str | None = None
    seed: int | None = None


@dataclass
class Episode:
    """A scene graph and all images made for it, the first being the Diffuser's."""

    graph: SceneGraph
    frames: list[Frame] = field(default_factory=list)

    @property
    def last(self) -> Frame:
        return self.frames[-1]


def draw_states(models: Models, graphs: Sequence[SceneGraph], seeds: Sequence[int]) -> list[State]:
    """The Diffuser's first image for each graph, checked."""
    images = models.diffuser.draw([graph.prompt for graph in graphs], seeds)
    satisfaction = models.checker.satisfaction(images, [graph.requirements for graph in graphs])
    return [State(*parts) for parts in zip(graphs, images, satisfaction, seeds, strict=True)]


def play(
    models: Models,
    graphs: Sequence[SceneGraph],
    seed: int,
    turns: int,
    temperature: float = 0.0,
    states: Sequence[State] | None = None,
) -> list[Episode]:
    """Whole episodes as they are used, not as they are trained on: one answer and one ODE edit a turn.

    An answer that cannot be parsed ends its episode with the image that it has. Temperature 0 is greedy. With `states`,
    one for each graph, episodes begin with these images and nothing is drawn.
    """
    if states is None:
        states = draw_states(models, graphs, [derive_seed(seed, "draw", graph.img_id) for graph in graphs])
    states = list(states)
    episodes = [
        Episode(state.graph, [Frame(state.image, state.satisfaction, seed=state.draw_seed)]) for state in states
    ]
    open_ones = [k for k, state in enumerate(states) if not state.done]
    for turn in range(turns):
        if not open_ones:
            break
        answers = models.actor.reflect(
            [states[k].image for k in open_ones],
            [states[k].request for k in open_ones],
            temperature=temperature,
            seeds=[derive_seed(seed, "answer", states[k].graph.img_id, turn) for k in open_ones],
        )
        parsed = [(k, a[0]) for k, a in zip(open_ones, answers, strict=True) if a[0].reflection is not None]
        seeds = [derive_seed(seed, "edit", states[k].graph.img_id, turn) for k, _ in parsed]
        edits = models.editor.edit(
            [states[k].image for k, _ in parsed], [answer.reflection.edit_prompt for _, answer in parsed], seeds
        )
        checked = models.checker.satisfaction(
            [edit.image for edit in edits], [states[k].graph.requirements for k, _ in parsed]
        )
        for (k, answer), edit, satisfaction, edit_seed in zip(parsed, edits, checked, seeds, strict=True):
            reflection = answer.reflection
            episodes[k].frames.append(
                Frame(
                    edit.image,
                    satisfaction,
                    states[k].request,
                    answer.text,
                    reflection.reflection,
                    reflection.edit_prompt,
                    edit_seed,
                )
            )
            states[k] = State(states[k].graph, edit.image, satisfaction, states[k].draw_seed)
        open_ones = [k for k, _ in parsed if not states[k].done]
    return episodes
