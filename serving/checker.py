"""The Checker: asks a frozen VLM whether each requirement holds in an image."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

import numpy as np

from scenes.dialogue import NO, YES
from scenes.dialogues.dialogue import SHAPES, Dialogue
from scenes.scene_graph import AnyRequirement
from serving.generation import Answer, Question, Sampling, Vlm, VlmError

_YES_WORDS, _NO_WORDS = (
    tuple(f"{blank}{spelling}" for blank in ("", " ") for spelling in (word, word.capitalize(), word.upper()))
    for word in (YES, NO)
)
LEAST_MASS = 0.05
SAMPLING = Sampling(max_tokens=1, words=_YES_WORDS + _NO_WORDS, base=True)
"""How the Checker answers: frozen, where its replicas hold an adapter of the Actor's."""


def questions_of(requirements: Sequence[AnyRequirement], image: int = 0, dialogue: Dialogue = SHAPES) -> list[Question]:
    """What the Checker is asked about the image at position `image` of a batch: one question a requirement."""
    return [Question(dialogue.question(requirement), image) for requirement in requirements]


class Checker:
    """Yes-probabilities for requirements.

    Args:
        dialogue: in which it is asked.
        least_mass: least probability of yes and no together, in all spellings that are one token.

    Attributes:
        unanswered: questions so far that fell below `least_mass`; they count as unsatisfied.
    """

    def __init__(self, vlm: Vlm, dialogue: Dialogue = SHAPES, least_mass: float = LEAST_MASS) -> None:
        self._vlm, self.dialogue, self._least_mass = vlm, dialogue, least_mass
        self.unanswered = 0

    @property
    def compute_seconds(self) -> float:
        """Seconds that the engine worked on what this was asked so far."""
        return self._vlm.compute_seconds

    def satisfaction(
        self, images: Sequence[np.ndarray], requirements: Sequence[Sequence[AnyRequirement]]
    ) -> list[list[float]]:
        """The probability in [0, 1] that each requirement of `requirements[i]` holds in `images[i]`.

        It is p(yes) / (p(yes) + p(no)) at the first answer token, and 0 where both together are less likely than
        `least_mass`.

        Raises:
            ValueError: as many images as lists of requirements are needed.
            VlmError: the Checker's tokenizer has no token for yes or no.
            TimeoutError: no answer within the Checker's `call_deadline_s`.
        """
        if len(images) != len(requirements):
            raise ValueError(f"{len(images)} images and {len(requirements)} lists of requirements; give one for each")
        questions = [
            question
            for index, wanted in enumerate(requirements)
            for question in questions_of(wanted, index, self.dialogue)
        ]
        answers = iter(self.read(self._vlm.generate(images, questions, SAMPLING)))
        return [[next(answers) for _ in wanted] for wanted in requirements]

    def read(self, answers: Sequence[Sequence[Answer]]) -> list[float]:
        """The yes-probability that each answer to a question of `questions_of` stands for; see `satisfaction`."""
        return [self._yes_probability(samples[0]) for samples in answers]

    def _yes_probability(self, answer: Answer) -> float:
        yes = sum(exp(answer.word_log_probs[word]) for word in _YES_WORDS if word in answer.word_log_probs)
        no = sum(exp(answer.word_log_probs[word]) for word in _NO_WORDS if word in answer.word_log_probs)
        if not answer.word_log_probs.keys() & set(_YES_WORDS) or not answer.word_log_probs.keys() & set(_NO_WORDS):
            raise VlmError(f"the {self._vlm.role}'s tokenizer has no single token for {YES!r} or {NO!r}; use another")
        if yes + no < self._least_mass:
            self.unanswered += 1
            return 0.0
        return yes / (yes + no)
