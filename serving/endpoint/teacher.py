"""A model behind an OpenAI-compatible endpoint that answers in the place of the Actor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scenes.dialogues.dialogue import Dialogue
from serving.actor import ActorAnswer, read_answer
from serving.endpoint.openai_api import Ask, Endpoint, EndpointError
from serving.generation import Answer


class Teacher:
    """A model behind an OpenAI-compatible endpoint in the place of the Actor. An answer that does not come counts as
    one that cannot be parsed.

    Args:
        system: what it is told before each request; None: nothing.
    """

    compute_seconds = 0.0

    def __init__(self, endpoint: Endpoint, dialogue: Dialogue, system: str | None) -> None:
        self._endpoint, self.dialogue, self._system = endpoint, dialogue, system
        self.failures = Counter[str]()

    def reflect(
        self,
        images: Sequence[np.ndarray],
        requests: Sequence[str],
        *,
        temperature: float = 0.0,
        seeds: Sequence[int] = (),
    ) -> list[list[ActorAnswer]]:
        """See `serving.actor.Actor.reflect`; the endpoint answers greedily."""

        def job(image: np.ndarray, request: str) -> Callable[[Ask], Any]:
            text = request if self._system is None else f"{self._system}\n\n{request}"
            return lambda ask: self._answer(ask, text, image)

        texts = self._endpoint.run([job(*asked) for asked in zip(images, requests, strict=True)])
        return [[read_answer(Answer(text, [], [], True, 0), self.dialogue)] for text in texts]

    async def _answer(self, ask: Ask, text: str, image: np.ndarray) -> str:
        try:
            return (await ask(text, image)).text
        except EndpointError as error:
            self.failures[str(error)] += 1
            return ""
