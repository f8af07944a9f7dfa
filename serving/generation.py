"""What a VLM replica is asked and what it answers. Plain data: importing it loads no engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from serving.config import VlmConfig

IMAGE_BIAS = -100.0
"""Is added to the logit of an image's placeholder, which is so never sampled: an answer that holds one could not be
read again, by the learner least of all. Rollout and learner alike."""


class VlmError(RuntimeError):
    """A VLM did not start, or a call to it failed."""


class ReplicaBroken(RuntimeError):
    """A replica answers nothing any more, until Serve has replaced it."""


def messages(text: str, system: str | None = None) -> list[dict[str, Any]]:
    """One user turn about an image, after a system prompt where there is one, as chat templates take them. Rollout and
    learner alike."""
    before = [] if system is None else [{"role": "system", "content": [{"type": "text", "text": system}]}]
    return [*before, {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]


def word_ids(tokenizer: Any, words: Sequence[str]) -> dict[str, int]:
    """The tokens of those words that a transformers tokenizer knows as one token; no token twice."""
    ids: dict[str, int] = {}
    for word in words:
        tokens = tokenizer.encode(word, add_special_tokens=False)
        if len(tokens) == 1 and tokens[0] != tokenizer.unk_token_id and tokens[0] not in ids.values():
            ids[word] = tokens[0]
    return ids


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
    as one token. `base`: answer as the model that lies on disk, without the adapter beside its weights.
    """

    n: int = 1
    temperature: float = 0.0
    max_tokens: int = 64
    words: tuple[str, ...] = ()
    base: bool = False


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
    them, under the distribution that it was sampled from: softmax((logits + `IMAGE_BIAS` at an image's placeholder) /
    temperature), and of temperature 1 where the answer is greedy. `finished` is False where `max_tokens` cut the answer
    off.
    """

    text: str
    token_ids: list[int]
    log_probs: list[float]
    finished: bool
    version: int
    word_log_probs: dict[str, float] = field(default_factory=dict)


class Vlm(Protocol):
    """What the Actor and the Checker ask: replicas behind a `VlmClient`, or a model in this process."""

    role: str
    settings: VlmConfig
    compute_seconds: float

    def generate(
        self, images: Sequence[np.ndarray], questions: Sequence[Question], sampling: Sampling
    ) -> list[list[Answer]]:
        """Answers as `result[question][sample]`."""
        ...
