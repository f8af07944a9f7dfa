"""A few questions to the VLMs of a run, about pictures whose truth is known: do they speak its dialogue?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rewards.satisfaction import HOLDS
from rollout.state import State
from scenes.scene_graph import SceneGraph
from scenes.shape_world import INVERSE, DrawnScene, sample_scene

if TYPE_CHECKING:
    from serving.actor import Actor
    from serving.checker import Checker


@dataclass(frozen=True)
class Check:
    """One question to the Checker, its p(yes), and whether yes is the truth."""

    question: str
    p_yes: float
    truth: bool

    @property
    def right(self) -> bool:
        """Whether the answer is the truth; one that was not given counts as no."""
        return (self.p_yes >= HOLDS) == self.truth


@dataclass(frozen=True)
class Trial:
    """One picture: what the Actor was asked, and answered, with what was read in it, or why nothing was."""

    request: str
    answer: str
    tokens: int
    reflection: str | None
    edit_prompt: str | None
    unread: str | None
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class TrialReport:
    """All trials. `seconds` is what the engines computed for them, by role."""

    trials: tuple[Trial, ...]
    seconds: dict[str, float]
    unanswered: int

    @property
    def parsed(self) -> float:
        """The share of the Actor's answers that could be read."""
        return float(np.mean([trial.unread is None for trial in self.trials]))

    @property
    def right(self) -> float:
        """The share of the Checker's answers that are."""
        return float(np.mean([one.right for trial in self.trials for one in trial.checks]))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "parsed": self.parsed, "right": self.right}


def pictures(count: int, seed: int = 0) -> list[tuple[SceneGraph, np.ndarray, list[bool]]]:
    """So many drawn scenes, each with what is asked for and which of it holds: the first requirement never does."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        scene: DrawnScene = sample_scene(rng, "held_out", (2, 3), img_id=f"scene-{number}")
        first, *others = scene.graph.relations
        turned = replace(first, predicate=INVERSE[first.predicate])
        found.append((replace(scene.graph, relations=(turned, *others)), scene.image, [False] + [True] * len(others)))
    return found


def try_vlms(
    actor: Actor, checker: Checker, asked: Sequence[tuple[SceneGraph, np.ndarray, list[bool]]], temperature: float
) -> TrialReport:
    """Ask the Actor for one answer about each picture, and the Checker about each of its requirements.

    Raises:
        TimeoutError, VlmError: a VLM does not answer.
    """
    before = actor.compute_seconds, checker.compute_seconds, checker.unanswered
    states = [State(graph, image, [float(holds) for holds in truth], None, dialogue=actor.dialogue)
              for graph, image, truth in asked]  # fmt: skip
    images = [state.image for state in states]
    answers = actor.reflect(
        images, [state.request for state in states], temperature=temperature, seeds=range(len(states))
    )
    judged = checker.satisfaction(images, [state.graph.requirements for state in states])
    trials = []
    for state, (answer,), row, (_, _, truth) in zip(states, answers, judged, asked, strict=True):
        checks = [
            Check(checker.dialogue.question(requirement), p_yes, holds)
            for requirement, p_yes, holds in zip(state.graph.requirements, row, truth, strict=True)
        ]
        trials.append(
            Trial(
                request=state.request,
                answer=answer.text,
                tokens=len(answer.token_ids),
                reflection=None if answer.reflection is None else answer.reflection.reflection,
                edit_prompt=None if answer.reflection is None else answer.reflection.edit_prompt,
                unread=answer.unread,
                checks=tuple(checks),
            )
        )
    seconds = {"actor": actor.compute_seconds - before[0], "checker": checker.compute_seconds - before[1]}
    return TrialReport(tuple(trials), seconds, checker.unanswered - before[2])
