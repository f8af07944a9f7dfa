"""Episodes: draw, check, and while a requirement is unmet, reflect, edit and check again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from rollout.seeds import derive_seed
from scenes.dialogue import actor_request
from scenes.scene_graph import Requirement, SceneGraph

if TYPE_CHECKING:
    from rollout.models import Models
    from serving.vlm_actor import ActorAnswer

HOLDS = 0.5
RETRY_TEMPERATURE = 1.0


def unmet(graph: SceneGraph, satisfaction: Sequence[float]) -> tuple[Requirement, ...]:
    """The requirements whose yes-probability is below ½."""
    return tuple(r for r, p in zip(graph.requirements, satisfaction, strict=True) if p < HOLDS)


def reward_of(satisfaction: Sequence[float], kind: str) -> float:
    """The fraction of requirements that hold (`hard`), or their mean yes-probability (`soft`); DESIGN §4."""
    values = np.asarray(satisfaction, dtype=float)
    return float(np.mean(values >= HOLDS if kind == "hard" else values))


def improves(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether more requirements hold, or as many with a higher mean probability."""
    return (reward_of(after, "hard"), reward_of(after, "soft")) > (
        reward_of(before, "hard"),
        reward_of(before, "soft"),
    )


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

    def after(self, image: np.ndarray, satisfaction: list[float]) -> State:
        """The state that an edit leads to: its image where that `improves` this one, otherwise this state itself."""
        if not improves(self.satisfaction, satisfaction):
            return self
        return replace(self, image=image, satisfaction=satisfaction)


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
    kept: bool = True


@dataclass
class Episode:
    """A scene graph and all images made for it, the first being the Diffuser's. A frame that is not `kept` was an edit
    that made nothing better; the turn after it starts again from the frame before."""

    graph: SceneGraph
    frames: list[Frame] = field(default_factory=list)

    @property
    def answer(self) -> Frame:
        """The image that the episode ends with: the last one that was kept."""
        return next(frame for frame in reversed(self.frames) if frame.kept)


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
    states: Sequence[State] | None = None,
) -> list[Episode]:
    """Whole episodes as they are used, not as they are trained on: one answer and one ODE edit a turn.

    An edit is kept where the Checker finds the image better (`improves`); otherwise the next turn starts again from the
    image before it. An answer that cannot be parsed uses up its turn. A question that was asked before is answered at
    `RETRY_TEMPERATURE`, because greedy decoding would repeat itself. With `states`, one for each graph, episodes begin
    with these images and nothing is drawn.
    """
    if states is None:
        states = draw_states(models, graphs, [derive_seed(seed, "draw", graph.img_id) for graph in graphs])
    states = list(states)
    episodes = [
        Episode(state.graph, [Frame(state.image, state.satisfaction, seed=state.draw_seed)]) for state in states
    ]
    asked: set[int] = set()  # episodes whose last answer left their image as it was
    for turn in range(turns):
        open_ones = [k for k, state in enumerate(states) if not state.done]
        if not open_ones:
            break
        answers = _reflect(models, seed, turn, {k: states[k] for k in open_ones}, asked)
        parsed = {k: answer for k, answer in answers.items() if answer.reflection is not None}
        seeds = [derive_seed(seed, "edit", states[k].graph.img_id, turn) for k in parsed]
        edits = models.editor.edit(
            [states[k].image for k in parsed], [answer.reflection.edit_prompt for answer in parsed.values()], seeds
        )
        checked = models.checker.satisfaction(
            [edit.image for edit in edits], [states[k].graph.requirements for k in parsed]
        )
        asked = set(open_ones)
        for (k, answer), edit, satisfaction, edit_seed in zip(parsed.items(), edits, checked, seeds, strict=True):
            after = states[k].after(edit.image, satisfaction)
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
                    kept=after is not states[k],
                )
            )
            if after is not states[k]:
                asked.discard(k)
            states[k] = after
    return episodes


def _reflect(models: Models, seed: int, turn: int, states: dict[int, State], asked: set[int]) -> dict[int, ActorAnswer]:
    """One answer to each state, by its key: greedy, sampled for those in `asked`."""
    answers: dict[int, ActorAnswer] = {}
    for temperature, keys in (
        (0.0, [k for k in states if k not in asked]),
        (RETRY_TEMPERATURE, [k for k in states if k in asked]),
    ):
        if keys:
            found = models.actor.reflect(
                [states[k].image for k in keys],
                [states[k].request for k in keys],
                temperature=temperature,
                seeds=[derive_seed(seed, "answer", states[k].graph.img_id, turn) for k in keys],
            )
            answers |= {k: one[0] for k, one in zip(keys, found, strict=True)}
    return answers
