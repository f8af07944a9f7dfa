"""What the endpoint asks of whoever makes the images, and what it gets back. It knows neither Ray nor a model."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from rollout.state import Episode, Frame
from scenes.pictures.size import PictureSize
from scenes.scene_graph import SceneGraph
from serving.generation import Answer

TRAINED_MODEL, RAW_MODEL = "rlrig", "rlrig-raw"


@dataclass(frozen=True)
class Ask:
    """One image to make. `model` is `rlrig` (the trained one, or the preset's where nothing was trained) or
    `rlrig-raw`. With `image`, (H, W, 3) uint8, the episode starts from it and the Diffuser draws nothing; with an
    `instruction` besides, it is edited once as that says, and the graph requires nothing."""

    graph: SceneGraph
    seed: int
    turns: int
    model: str
    image: np.ndarray | None = None
    instruction: str = ""


@dataclass(frozen=True)
class TurnReady:
    """One frame of the episode, as soon as it is there; index 0 is the first image."""

    index: int
    frame: Frame


@dataclass(frozen=True)
class Finished:
    """The end of an episode: all of it, the one version of each policy that made all of it (`actor`, `editor`), and the
    seconds by phase (`wait`, `draw`, `check`, `reflect`, `edit`)."""

    episode: Episode
    versions: dict[str, int]
    seconds: dict[str, float]


@dataclass(frozen=True)
class ModelInfo:
    """A model that can be asked for: its name, the version of each policy, and when these were put in (Unix
    seconds)."""

    id: str
    versions: dict[str, int] = field(default_factory=dict)
    created: int = 0


class ServiceUnavailable(RuntimeError):
    """The service cannot answer now; asking again after `retry_after_s` seconds makes sense. Its message is shown to
    the client."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TurnTimeout(RuntimeError):
    """One turn of an episode took longer than `turn_deadline_s`. Its message is shown to the client."""


class Service(Protocol):
    """Makes images, each with the turns that led to it."""

    @property
    def image_size(self) -> PictureSize:
        """Of its images."""
        ...

    def models(self) -> list[ModelInfo]:
        """The models that an `Ask` may name."""
        ...

    async def ready(self) -> dict[str, str]:
        """By role: empty where it can answer, else why it cannot."""
        ...

    async def say(self, text: str) -> Answer:
        """What the Actor's VLM, without what training made of it, answers to a text. Raises as `episode`."""
        ...

    def episode(self, ask: Ask) -> AsyncGenerator[TurnReady | Finished, None]:
        """The frames of one episode as they come, and at last one `Finished`. Closing the generator (`aclose`) frees
        what still works for it.

        Raises:
            ServiceUnavailable: a role cannot answer.
            TurnTimeout: a turn passed its deadline.
        """
        ...
