"""A service whose episodes are written down, for tests of what stands before it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import numpy as np

from rollout.state import Episode, Frame, Unread
from scenes.pictures.size import PictureSize
from serving.generation import Answer
from studio.episodes.service import Ask, Finished, ModelInfo, TurnReady

SECONDS = {"wait": 0.5, "draw": 1.0, "check": 0.25, "reflect": 2.0, "edit": 4.0}


def picture(value: int, size: int = 64) -> np.ndarray:
    """A square picture of one grey value."""
    return np.full((size, size, 3), value, np.uint8)


class ScriptedService:
    """The first image has the grey value `seed % 200` (or is the one that was given), and image k of the episode one
    that is k larger. From image `holds_after` on, all requirements hold; before, only the first does.

    Args:
        turn_s: seconds before each image.
        failure: raised instead of image `fails_at`.
        unread: answers that led to no image, in every episode.
    """

    image_size = PictureSize(64, 64)

    def __init__(
        self,
        holds_after: int = 1,
        turn_s: float = 0.0,
        failure: Exception | None = None,
        fails_at: int = 0,
        not_ready: str = "",
        unread: Sequence[Unread] = (),
    ) -> None:
        self.unread = list(unread)
        self.holds_after, self.turn_s = holds_after, turn_s
        self.failure, self.fails_at, self.not_ready = failure, fails_at, not_ready
        self.asked: list[Ask] = []
        self.answers: list[str] = []  # of the Actor's VLM, to `questions`
        self.questions: list[str] = []
        self.under_way = 0
        self.versions = {"actor": 3, "editor": 5}

    def models(self) -> list[ModelInfo]:
        return [ModelInfo("rlrig", self.versions, 1000), ModelInfo("rlrig-raw", {"actor": 0, "editor": 0}, 1000)]

    async def ready(self) -> dict[str, str]:
        return {"diffuser": "", "actor": self.not_ready}

    async def say(self, text: str) -> Answer:
        self.questions.append(text)
        return Answer(self.answers.pop(0) if self.answers else "no", [0], [0.0], True, 0)

    async def episode(self, ask: Ask) -> AsyncIterator[TurnReady | Finished]:
        self.asked.append(ask)
        self.under_way += 1
        try:
            first = np.full(self.image_size.shape, ask.seed % 200, np.uint8) if ask.image is None else ask.image
            episode = Episode(ask.graph, unread=self.unread)
            for index in range(ask.turns + 1):
                await asyncio.sleep(self.turn_s)
                if self.failure is not None and index == self.fails_at:
                    raise self.failure
                holds = index >= self.holds_after
                satisfaction = [0.9 if holds or k == 0 else 0.2 for k, _ in enumerate(ask.graph.requirements)]
                texts = ("asked", "answered", "it is wrong", "move it") if index else (None, None, None, None)
                frame = Frame(first + np.uint8(index), satisfaction, *texts, ask.seed + index)
                episode.frames.append(frame)
                yield TurnReady(index, frame)
                if holds:
                    break
            yield Finished(episode, dict(self.versions), dict(SECONDS))
        finally:
            self.under_way -= 1
