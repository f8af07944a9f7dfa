"""Which token an answer goes on with, and how likely it was."""

from __future__ import annotations

from collections.abc import Sequence, Set
from math import isfinite

import torch

from serving.generation import IMAGE_BIAS

_SEEDS_APART = 1024  # sample i of a question has the seed s · 1024 + i: neighbouring seeds must not share samples


class TokenChoice:
    """A logits processor that chooses in the place of transformers' own sampling, which has one generator for all rows.
    It keeps the log-probabilities of the distribution that it chose from; see `serving.generation.Answer`.

    Args:
        seeds: for each row the seed of its question, and which of its samples it is.
        temperature: 0 takes the likeliest token.
        image_token: an image's placeholder, which is never chosen; None where the model has none.
        words: tokens whose log-probabilities at the first step are kept, too.

    Attributes:
        words: these log-probabilities, for each row.
    """

    def __init__(
        self, seeds: Sequence[tuple[int | None, int]], temperature: float, image_token: int | None, words: Sequence[int]
    ) -> None:
        self._temperature, self._image_token, self._word_ids = temperature, image_token, list(words)
        self._generators = [_generator(*seed) for seed in seeds] if temperature else []
        self._chosen: list[torch.Tensor] = []
        self._log_probs: list[torch.Tensor] = []
        self.words: list[list[float]] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Logits (B, V) that leave nothing to choose."""
        logits = scores.float().clone()
        if self._image_token is not None:
            logits[:, self._image_token] += IMAGE_BIAS
        log_probs = (logits / (self._temperature or 1.0)).log_softmax(-1)
        if self._temperature:
            drawn = zip(log_probs.exp(), self._generators, strict=True)
            chosen = torch.stack([torch.multinomial(row, 1, generator=generator) for row, generator in drawn])
        else:
            chosen = logits.argmax(-1, keepdim=True)
        if not self._chosen:
            self.words = log_probs[:, self._word_ids].tolist()
        self._chosen.append(chosen)
        self._log_probs.append(log_probs.gather(1, chosen))
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)

    def row(self, row: int, most: int, stops: Set[int]) -> tuple[list[int], list[float]]:
        """The tokens of a row, at most so many and with its first stop token as the last, and their log-probabilities.

        Raises:
            FloatingPointError: the model's numbers were not finite.
        """
        ids = torch.cat(self._chosen, 1)[row, :most].tolist()
        length = next((place + 1 for place, token in enumerate(ids) if token in stops), len(ids))
        log_probs = torch.cat(self._log_probs, 1)[row, :length].tolist()
        if not all(map(isfinite, log_probs)):
            raise FloatingPointError("the VLM's probabilities are not finite; its weights are damaged")
        return ids[:length], log_probs


def _generator(seed: int | None, number: int) -> torch.Generator:
    generator = torch.Generator()
    if seed is None:
        generator.seed()
        return generator
    return generator.manual_seed((seed * _SEEDS_APART + number) % 2**62)
