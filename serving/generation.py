"""What a VLM replica is asked and what it answers. Plain data: importing it loads no engine."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


class ReplicaBroken(RuntimeError):
    """A replica answers nothing any more, until Serve has replaced it."""


@dataclass(frozen=True)
class Question:
    """One user turn: the text, the index of its image in the batch, and the seed of its samples."""

    text: str
    image: int
    seed: int | None = None


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn: `n` for each question, greedily at temperature 0.

    `words`: also return the log-probability of each of these words as first token, where the tokenizer knows the word
    as one token.
    """

    n: int = 1
    temperature: float = 0.0
    max_tokens: int = 64
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Batch:
    """Questions about images, which are uint8 arrays (H, W, 3). `deadline_s` bounds the generation of all answers."""

    images: list[np.ndarray]
    questions: list[Question]
    sampling: Sampling
    deadline_s: float


@dataclass(frozen=True)
class Answer:
    """One sampled answer, and the version of the weights that generated all of it.

    `token_ids` end with the end token if the model produced it; `log_probs` holds one natural logarithm for each of
    them, under the model's own distribution (temperature 1, nothing masked). The placeholder of an image is never
    sampled. `finished` is False where `max_tokens`
    cut the answer off.
    """

    text: str
    token_ids: list[int]
    log_probs: list[float]
    finished: bool
    version: int
    word_log_probs: dict[str, float] = field(default_factory=dict)
