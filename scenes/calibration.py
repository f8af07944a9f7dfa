"""How far probabilities are from frequencies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Bin:
    """Cases with a probability from `low` to `high`: how many, their mean probability, and how often yes was right."""

    low: float
    high: float
    count: int
    mean: float
    frequency: float


def bins_of(probability: np.ndarray, truth: np.ndarray, bins: int = 10) -> Iterator[Bin]:
    """Equal bins of [0, 1], those without a case left out.

    Args:
        probability, truth: (N,), of yes and whether yes is right.
    """
    which = np.minimum(np.searchsorted(np.arange(bins + 1) / bins, probability, side="right") - 1, bins - 1)
    for k in range(bins):
        inside = which == k
        if inside.any():
            mean, frequency = float(probability[inside].mean()), float(truth[inside].mean())
            yield Bin(k / bins, (k + 1) / bins, int(inside.sum()), mean, frequency)


def expected_calibration_error(probability: np.ndarray, truth: np.ndarray, bins: int = 10) -> float:
    """Σ over the bins: share of cases · |mean probability − frequency| (Guo et al., arXiv 1706.04599)."""
    found = bins_of(probability, truth, bins)
    return sum(one.count / len(probability) * abs(one.mean - one.frequency) for one in found)
