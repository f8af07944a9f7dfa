"""What the learner trains on: one sampled answer or edit, with its log-probabilities and its advantage."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from actors.flow_path import FlowPath
from scenes.pictures.sources import sources_of


@dataclass(frozen=True)
class ActorSample:
    """One answer of the Actor.

    `image` is (H, W, 3) uint8, `prompt` the user's text without the image, `token_ids` the sampled tokens (with the end
    token, if it was sampled) and `log_probs` the serving engine's natural-log probability of each of them.

    Raises:
        ValueError: no token, a log-probability for each token missing, a value that is not finite, or a wrong image.
    """

    image: np.ndarray
    prompt: str
    token_ids: list[int]
    log_probs: list[float]
    advantage: float

    def __post_init__(self) -> None:
        _check_image(self.image)
        _check_finite("advantage", [self.advantage])
        if not self.token_ids:
            raise ValueError("ActorSample.token_ids is empty; an answer has at least its end token")
        if len(self.log_probs) != len(self.token_ids):
            raise ValueError(
                f"ActorSample.log_probs has {len(self.log_probs)} values for {len(self.token_ids)} token_ids; "
                "give one for each token"
            )
        _check_finite("log_probs", self.log_probs)


@dataclass(frozen=True)
class EditorSample:
    """One edit of the Inverse Diffuser: the source `image` (H, W, 3) uint8, (K, H, W, 3) of several, the edit prompt,
    the sampled path or clean latent, and the seed of what the learner draws for it.

    Raises:
        ValueError: a path that is neither, a value that is not finite, or a wrong image.
    """

    image: np.ndarray
    edit_prompt: str
    path: FlowPath
    advantage: float
    seed: int = 0

    def __post_init__(self) -> None:
        for source in sources_of(self.image):
            _check_image(source)
        _check_finite("advantage", [self.advantage])
        if len(self.path) == 0 and not self.path.is_clean:
            raise ValueError("EditorSample.path has no stochastic step; sample the edit with the SDE to train on it")
        _check_finite("path.log_probs", [float(value) for value in self.path.log_probs])


def _check_image(image: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image is {image.dtype} of shape {image.shape}; it must be uint8 of shape (H, W, 3)")


def _check_finite(field: str, values: list[float]) -> None:
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"{field} contains a value that is not finite: {values}")
