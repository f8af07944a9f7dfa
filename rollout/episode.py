"""Episodes: draw, check, and while a requirement is unmet, reflect, edit and check again; many at the same time."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from rollout.course import Change, Check, Draw, Reflect, Request, course, first_state
from rollout.seeds import derive_seed
from rollout.state import Episode, State
from scenes.dialogues.dialogue import Dialogue
from scenes.scene_graph import SceneGraph

if TYPE_CHECKING:
    from actors.edit import Edit
    from actors.model_families import Drawer
    from serving.actor import ActorAnswer
    from serving.checker import Checker
    from serving.own_checker import OwnChecker

_Result = TypeVar("_Result")
_ORDER = (Draw, Change, Check, Reflect)  # nobody reflects before all that are behind have come to it


class Reflector(Protocol):
    """An Actor, or what takes its place."""

    dialogue: Dialogue

    def reflect(
        self, images: Sequence[np.ndarray], requests: Sequence[str], *, temperature: float, seeds: Sequence[int]
    ) -> list[list[ActorAnswer]]:
        """See `serving.actor.Actor.reflect`."""


class Editor(Protocol):
    """An Inverse Diffuser, or a fleet of them."""

    def edit(self, images: Sequence[np.ndarray], prompts: Sequence[str], seeds: Sequence[int]) -> list[Edit]:
        """See `actors.inverse_diffuser.InverseDiffuser.edit`."""


class Players(Protocol):
    """The four models of an episode, as `rollout.models.Models` has them."""

    @property
    def diffuser(self) -> Drawer:
        """Draws."""

    @property
    def editor(self) -> Editor:
        """Edits."""

    @property
    def actor(self) -> Reflector:
        """Reflects."""

    @property
    def checker(self) -> Checker | OwnChecker:
        """Judges."""


def draw_states(models: Players, graphs: Sequence[SceneGraph], seeds: Sequence[int], drawings: int = 1) -> list[State]:
    """The first image for each graph, checked; see `rollout.course.first_state`."""
    asked = zip(graphs, seeds, strict=True)
    return drive(models, [first_state(graph, seed, models.actor.dialogue, drawings) for graph, seed in asked])


def play(
    models: Players,
    graphs: Sequence[SceneGraph],
    seed: int,
    turns: int,
    states: Sequence[State] | None = None,
    drawings: int = 1,
) -> list[Episode]:
    """Whole episodes as they are used, not as they are trained on; see `rollout.course.course`. With `states`, one for
    each graph, episodes begin with these images and nothing is drawn."""
    if states is None:
        states = draw_states(models, graphs, [derive_seed(seed, "draw", graph.img_id) for graph in graphs], drawings)
    return drive(models, [course(state, seed, turns) for state in states])


def drive(models: Players, courses: Sequence[Generator[Request, Any, _Result]]) -> list[_Result]:
    """What these courses return, in their order; requests of one kind are answered together."""
    results: dict[int, _Result] = {}
    waiting: dict[int, Request] = {}

    def go_on(index: int, answer: Any) -> None:
        try:
            waiting[index] = courses[index].send(answer)
        except StopIteration as end:
            results[index] = end.value

    for index in range(len(courses)):
        go_on(index, None)
    while waiting:
        kind = next(kind for kind in _ORDER if any(isinstance(request, kind) for request in waiting.values()))
        chosen = {index: waiting.pop(index) for index in list(waiting) if isinstance(waiting[index], kind)}
        answers = _ANSWERS[kind](models, list(chosen.values()))
        for index, answer in zip(chosen, answers, strict=True):
            go_on(index, answer)
    return [results[index] for index in range(len(courses))]


def _draw(models: Players, requests: Sequence[Draw]) -> list[Any]:
    return models.diffuser.draw([one.prompt for one in requests], [one.seed for one in requests])


def _check(models: Players, requests: Sequence[Check]) -> list[Any]:
    return models.checker.satisfaction([one.image for one in requests], [one.requirements for one in requests])


def _change(models: Players, requests: Sequence[Change]) -> list[Any]:
    edits = models.editor.edit(
        [one.image for one in requests], [one.prompt for one in requests], [one.seed for one in requests]
    )
    return [edit.image for edit in edits]


def _reflect(models: Players, requests: Sequence[Reflect]) -> list[Any]:
    """One answer to each; a call has one temperature."""
    answers: dict[int, Any] = {}
    for temperature in sorted({one.temperature for one in requests}):
        chosen = {index: one for index, one in enumerate(requests) if one.temperature == temperature}
        found = models.actor.reflect(
            [one.image for one in chosen.values()],
            [one.request for one in chosen.values()],
            temperature=temperature,
            seeds=[one.seed for one in chosen.values()],
        )
        answers |= {index: one[0] for index, one in zip(chosen, found, strict=True)}
    return [answers[index] for index in range(len(requests))]


_ANSWERS: dict[type[Request], Callable[[Players, Sequence[Any]], list[Any]]] = {
    Draw: _draw,
    Check: _check,
    Change: _change,
    Reflect: _reflect,
}
