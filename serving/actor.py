"""The Actor: a VLM policy that reflects on an image and writes an edit prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scenes.dialogue import Reflection, UnparsableAnswer
from scenes.dialogues.dialogue import SHAPES, Dialogue
from serving.generation import Answer, Question, Sampling, Vlm

CUT_OFF = "cut off"


@dataclass(frozen=True)
class ActorAnswer:
    """One answer of the Actor.

    `token_ids` end with the end token if the Actor produced it; `log_probs` are natural logarithms, one for each,
    under the distribution that it was sampled from, see `Answer`. `reflection` is None where the text cannot be
    parsed, which costs that answer its reward and nothing else; `unread` then says why, and `reason` in a few words,
    by which answers are counted. `finished` is False where `max_tokens` cut the answer off.
    """

    text: str
    token_ids: list[int]
    log_probs: list[float]
    version: int
    reflection: Reflection | None
    unread: str | None = None
    reason: str | None = None
    finished: bool = True


class Actor:
    """Samples reflections and edit prompts.

    Attributes:
        dialogue: in which it is asked, and answers.
    """

    def __init__(self, vlm: Vlm, dialogue: Dialogue = SHAPES) -> None:
        self._vlm, self.dialogue = vlm, dialogue

    @property
    def compute_seconds(self) -> float:
        """Seconds that the engine worked on what this was asked so far."""
        return self._vlm.compute_seconds

    def reflect(
        self,
        images: Sequence[np.ndarray],
        requests: Sequence[str],
        n: int = 1,
        temperature: float = 0.0,
        seeds: Sequence[int] | None = None,
    ) -> list[list[ActorAnswer]]:
        """`n` answers to each request about its image, greedy at temperature 0.

        Equal seed, image, request, n and weights give equal answers, whatever else is asked at the same time.

        Raises:
            ValueError: lists of different lengths, or n > 1 at temperature 0, where all answers would be the same.
            TimeoutError: no answer within the Actor's `call_deadline_s`.
        """
        if len(images) != len(requests) or (seeds is not None and len(seeds) != len(requests)):
            counts = f"{len(images)} images, {len(requests)} requests, {'no' if seeds is None else len(seeds)} seeds"
            raise ValueError(f"{counts}; give one of each for each request")
        if n > 1 and temperature == 0.0:
            raise ValueError(f"n is {n} at temperature 0, where all answers are the same; raise the temperature")
        questions = [
            Question(request, index, None if seeds is None else seeds[index]) for index, request in enumerate(requests)
        ]
        sampling = Sampling(n=n, temperature=temperature, max_tokens=self._vlm.settings.max_tokens)
        found = self._vlm.generate(images, questions, sampling)
        return [[read_answer(answer, self.dialogue) for answer in answers] for answers in found]


def read_answer(answer: Answer, dialogue: Dialogue) -> ActorAnswer:
    """What a generated text says, where it can be parsed."""
    reflection, unread, reason = None, None, None
    try:
        reflection = dialogue.read(answer.text)
    except UnparsableAnswer as error:
        unread, reason = str(error), error.reason if answer.finished else CUT_OFF
    plain = (answer.text, answer.token_ids, answer.log_probs, answer.version)
    return ActorAnswer(*plain, reflection, unread, reason, answer.finished)
