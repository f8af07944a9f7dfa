"""`sharpness` and `artifact`: an edit neither blurs the picture nor adds noise to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from rewards.turn import ScoredTurn

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_LAPLACE = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=np.float32)
_NOISE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)


def sharpness_of(image: np.ndarray) -> float:
    """Variance of the Laplacian of an image's brightness, in squared grey levels."""
    return float(_inner(ndimage.correlate(_brightness(image), _LAPLACE)).var(dtype=np.float64))


def noise_of(image: np.ndarray) -> float:
    """Standard deviation of the noise of an image, in grey levels, where its contents are smooth:
    `sqrt(π/2) / (6·(W−2)·(H−2)) · Σ |I * N|` with N = [1 −2 1; −2 4 −2; 1 −2 1] (Immerkær 1996, "Fast noise variance
    estimation"). Edges add to it, which is why it is compared with that of the source."""
    filtered = _inner(ndimage.correlate(_brightness(image), _NOISE))
    return float(np.sqrt(np.pi / 2) / 6 * np.abs(filtered).mean(dtype=np.float64))


class Sharpness:
    """`min(1, s(image) / s(source))` with `sharpness_of`; 1 where the source has no edge at all."""

    def __call__(self, turns: Sequence[ScoredTurn]) -> list[float]:
        """One value in [0, 1] a turn."""
        measured = _each_once(sharpness_of)
        values = []
        for turn in turns:
            before = measured(turn.source)
            values.append(1.0 if before == 0 else min(1.0, measured(turn.image) / before))
        return values


class Artifact:
    """`1 − min(1, max(0, n(image) − n(source)) / tolerance)` with `noise_of`.

    Args:
        tolerance: grey levels of new noise that are worth 0.
    """

    def __init__(self, tolerance: float = 8.0) -> None:
        if tolerance <= 0:
            raise ValueError(f"tolerance: {tolerance} is refused: must be above 0 grey levels")
        self._tolerance = tolerance

    def __call__(self, turns: Sequence[ScoredTurn]) -> list[float]:
        """One value in [0, 1] a turn."""
        measured = _each_once(noise_of)
        more = [max(0.0, measured(turn.image) - measured(turn.source)) for turn in turns]
        return [1 - min(1.0, one / self._tolerance) for one in more]


def _brightness(image: np.ndarray) -> np.ndarray:
    brightness: np.ndarray = image.astype(np.float32) @ _LUMA
    return brightness


def _inner(filtered: np.ndarray) -> np.ndarray:
    """Without the border, where the filter saw pixels that there are not."""
    return filtered[1:-1, 1:-1]


def _each_once(measure: Callable[[np.ndarray], float]) -> Callable[[np.ndarray], float]:
    """A measure that looks at each image object once; members of a group share their source."""
    known: dict[int, float] = {}

    def measured(image: np.ndarray) -> float:
        if id(image) not in known:
            known[id(image)] = measure(image)
        return known[id(image)]

    return measured
