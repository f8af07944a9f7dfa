"""Where an episode stands: an image, what the Checker says of it, and the frames so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rewards.satisfaction import HOLDS, improves
from scenes.dialogues.dialogue import SHAPES, Dialogue
from scenes.scene_graph import AnyRequirement, SceneGraph


def unmet(graph: SceneGraph, satisfaction: Sequence[float]) -> tuple[AnyRequirement, ...]:
    """The requirements whose yes-probability is below ½."""
    return tuple(r for r, p in zip(graph.requirements, satisfaction, strict=True) if p < HOLDS)


@dataclass(frozen=True)
class State:
    """An image on its way to a scene graph, and the Checker's yes-probability for each requirement. `draw_seed` is None
    where the image was not drawn; `prompt` is the position in a run's stream of prompts; `dialogue` is that with the
    Actor."""

    graph: SceneGraph
    image: np.ndarray
    satisfaction: list[float]
    draw_seed: int | None
    prompt: int = -1
    dialogue: Dialogue = SHAPES

    @property
    def request(self) -> str:
        """What the Actor is asked about this state."""
        return self.dialogue.request(self.graph.requirements, unmet(self.graph, self.satisfaction))

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
    or edit, None for a first image that was brought along."""

    image: np.ndarray
    satisfaction: list[float]
    request: str | None = None
    answer: str | None = None
    reflection: str | None = None
    edit_prompt: str | None = None
    seed: int | None = None
    kept: bool = True


@dataclass(frozen=True)
class Unread:
    """An answer of the Actor that could not be read. It used up its turn, counted from 1, and led to no image."""

    turn: int
    request: str
    answer: str
    reason: str


@dataclass
class Episode:
    """A scene graph and all images made for it, the first being the Diffuser's. A frame that is not `kept` was an edit
    that made nothing better; the turn after it starts again from the frame before."""

    graph: SceneGraph
    frames: list[Frame] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)

    @property
    def answer(self) -> Frame:
        """The image that the episode ends with: the last one that was kept."""
        return next(frame for frame in reversed(self.frames) if frame.kept)
