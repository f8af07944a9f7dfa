"""The course of an episode: what it asks of which model next, and what it makes of the answer.

A course is a generator of requests. Who drives it decides how they are answered: for many episodes at a time
(`rollout.episode.play`), or one at a time while others wait (the endpoint). It knows no model.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rollout.seeds import derive_seed
from rollout.state import Episode, Frame, State, Unread
from scenes.dialogues.dialogue import SHAPES, Dialogue
from scenes.scene_graph import AnyRequirement, SceneGraph

if TYPE_CHECKING:
    from serving.actor import ActorAnswer

RETRY_TEMPERATURE = 1.0


@dataclass(frozen=True)
class Draw:
    """Asks the Diffuser for an image, (H, W, 3) uint8."""

    prompt: str
    seed: int


@dataclass(frozen=True)
class Check:
    """Asks the Checker for the yes-probability of each requirement."""

    image: np.ndarray
    requirements: tuple[AnyRequirement, ...]


@dataclass(frozen=True)
class Reflect:
    """Asks the Actor for one answer."""

    image: np.ndarray
    request: str
    temperature: float
    seed: int


@dataclass(frozen=True)
class Change:
    """Asks the Inverse Diffuser for an edited image, (H, W, 3) uint8."""

    image: np.ndarray
    prompt: str
    seed: int


Request = Draw | Check | Reflect | Change
Course = Generator[Request, Any, Episode]


def first_state(
    graph: SceneGraph, seed: int, dialogue: Dialogue = SHAPES, drawings: int = 1
) -> Generator[Request, Any, State]:
    """The Diffuser's image with this seed, checked; or the best by the Checker of so many `drawings`, which end with
    the first one that meets every requirement. The seeds of further ones follow from this seed."""
    image = yield Draw(graph.drawing, seed)
    best = State(graph, image, (yield Check(image, graph.requirements)), seed, dialogue=dialogue)
    for number in range(1, drawings):
        if best.done:
            break
        another = derive_seed(seed, "drawing", number)
        image = yield Draw(graph.drawing, another)
        after = best.after(image, (yield Check(image, graph.requirements)))
        best = best if after is best else replace(after, draw_seed=another)
    return best


def given_state(graph: SceneGraph, image: np.ndarray, dialogue: Dialogue = SHAPES) -> Generator[Request, Any, State]:
    """An image that was brought along, (H, W, 3) uint8, checked; nothing is drawn."""
    satisfaction = yield Check(image, graph.requirements)
    return State(graph, image, satisfaction, draw_seed=None, dialogue=dialogue)


def course(state: State, seed: int, turns: int, episode: Episode | None = None) -> Course:
    """From a first image on: at most `turns` times one answer and one ODE edit, until every requirement holds.

    An edit is kept where the Checker finds the image better (`State.after`); otherwise the next turn starts again from
    the image before it. An answer that cannot be parsed uses up its turn. A question that was asked before is answered
    at `RETRY_TEMPERATURE`, because greedy decoding would repeat itself.

    Args:
        episode: takes each frame as soon as it is there, the first one included; it is also what is returned.
    """
    episode = Episode(state.graph) if episode is None else episode
    episode.frames.append(Frame(state.image, state.satisfaction, seed=state.draw_seed))
    name, asked = state.graph.img_id, False
    for turn in range(turns):
        if state.done:
            break
        temperature = RETRY_TEMPERATURE if asked else 0.0
        request = state.request
        answer: ActorAnswer = yield Reflect(state.image, request, temperature, derive_seed(seed, "answer", name, turn))
        asked = True
        if answer.reflection is None:
            episode.unread.append(Unread(turn + 1, request, answer.text, answer.reason or ""))
            continue
        edit_seed = derive_seed(seed, "edit", name, turn)
        image = yield Change(state.image, answer.reflection.edit_prompt, edit_seed)
        satisfaction = yield Check(image, state.graph.requirements)
        after = state.after(image, satisfaction)
        kept = after is not state
        texts = (request, answer.text, answer.reflection.reflection, answer.reflection.edit_prompt)
        episode.frames.append(Frame(image, satisfaction, *texts, edit_seed, kept=kept))
        state, asked = after, not kept
    return episode
