"""Means, ratios and paired differences with bootstrap intervals, over prompts and over training seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from presets.errors import BadInput

_MOST_UNITS, _MOST_KEPT = 4_000, 1 << 24
_NAMED = 5  # prompt ids that an error names before it counts the rest


@dataclass(frozen=True)
class Interval:
    """A mean and its percentile interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """a − b on the same prompts.

    `relative` is (a − b) / b of the means; None where the mean of b, or of one of its resamples, is not above 0.
    `by_seed` is the difference for each training seed; empty where the arms have several seeds, and not the same.
    """

    absolute: Interval
    relative: Interval | None
    by_seed: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Scores:
    """One metric of one arm: `values` float64 (seeds, prompts), in the order of `seeds` and `prompt_ids` (sorted)."""

    seeds: tuple[int, ...]
    prompt_ids: tuple[str, ...]
    values: np.ndarray

    @classmethod
    def from_cells(cls, cells: Mapping[int, Mapping[str, float]]) -> Scores:
        """From the value of each prompt id, for each training seed.

        Raises:
            BadInput: nothing to average, a value that is not finite, or seeds that were not given the same prompts.
        """
        seeds = tuple(sorted(cells))
        prompt_ids = tuple(sorted({prompt for one in cells.values() for prompt in one}))
        if not prompt_ids:
            raise BadInput("scores: there is no value to average; evaluate at least one prompt")
        for seed in seeds:
            if missing := [prompt for prompt in prompt_ids if prompt not in cells[seed]]:
                raise BadInput(
                    f"scores: seed {seed} lacks {_names(missing)}, which other seeds have; "
                    f"evaluate every seed on the same prompts"
                )
        values = np.array([[cells[seed][prompt] for prompt in prompt_ids] for seed in seeds], dtype=np.float64)
        if not np.isfinite(values).all():
            row, column = np.argwhere(~np.isfinite(values))[0]
            raise BadInput(
                f"scores: {values[row, column]} for prompt {prompt_ids[column]!r}, seed {seeds[row]}; "
                f"give finite values only"
            )
        return cls(seeds, prompt_ids, values)

    @property
    def means(self) -> np.ndarray:
        """float64 (seeds,): the mean over prompts for each seed."""
        means: np.ndarray = self.values.mean(axis=1)
        return means


@dataclass(frozen=True)
class Bootstrap:
    """Percentile bootstrap over prompts × training seeds (Owen, "The pigeonhole bootstrap", Ann. Appl. Stat. 1, 2007).

    Prompts are drawn with replacement, the same ones for all seeds and for both arms of a difference. Where an arm has
    S > 1 seeds, S − 1 of them are drawn with replacement (Rao & Wu, J. Am. Stat. Assoc. 83, 1988): S draws would make
    the variance of the mean over seeds too small by (S − 1) / S. Arms with the same seeds share the draws, which pairs
    them; an arm with one seed is paired with every seed of the other. An interval can reach no further than the seeds
    that it was given: where training is all that varies, and as often above its mean as below, S seeds enclose the true
    mean with probability 1 − 2^(1 − S), which is 75 % for three.

    Args:
        resamples: how many.
        level: share of the resamples that the interval holds, between 0 and 1.
        seed: equal seeds give equal intervals.
    """

    resamples: int = 10_000
    level: float = 0.95
    seed: int = 0
    _weights: dict[int, np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.resamples < 1:
            raise BadInput(f"resamples: {self.resamples} is too few; give 1 or more, 10000 is usual")
        if not 0 < self.level < 1:
            raise BadInput(f"level: {self.level} is not between 0 and 1; 0.95 is usual")

    def mean(self, scores: Scores) -> Interval:
        """The mean over prompts and seeds."""
        return self._interval(float(scores.means.mean()), self.resampled(scores))

    def difference(self, a: Scores, b: Scores) -> Difference:
        """a − b, and relative to b.

        Raises:
            BadInput: the arms were not given the same prompts; the message names those that are missing.
        """
        if a.prompt_ids != b.prompt_ids:
            lacking = [
                f"{side} lacks {_names(missing)}"
                for side, missing in (
                    ("the first arm", sorted(set(b.prompt_ids) - set(a.prompt_ids))),
                    ("the second arm", sorted(set(a.prompt_ids) - set(b.prompt_ids))),
                )
                if missing
            ]
            raise BadInput(f"prompt ids: {'; '.join(lacking)}; evaluate both arms on the same prompts")
        mean_a, mean_b = float(a.means.mean()), float(b.means.mean())
        drawn_a, drawn_b = self.resampled(a), self.resampled(b)
        absolute = self._interval(mean_a - mean_b, drawn_a - drawn_b)
        relative = None
        if mean_b > 0 and drawn_b.min() > 0:
            relative = self._interval((mean_a - mean_b) / mean_b, (drawn_a - drawn_b) / drawn_b)
        paired = a.seeds == b.seeds or 1 in (len(a.seeds), len(b.seeds))
        return Difference(absolute, relative, tuple((a.means - b.means).tolist()) if paired else ())

    def resampled(self, scores: Scores) -> np.ndarray:
        """float64 (resamples,): the mean in each resample."""
        by_seed: np.ndarray = self._prompt_weights(len(scores.prompt_ids)) @ scores.values.T
        count = len(scores.seeds)
        if count == 1:
            alone: np.ndarray = by_seed[:, 0]
            return alone
        # The stream is named by the seeds: arms with the same seeds get the same draws, in whatever order they come.
        rng = np.random.default_rng([self.seed, *(seed + 1 for seed in scores.seeds)])
        drawn = rng.integers(0, count, (self.resamples, count - 1))
        means: np.ndarray = np.take_along_axis(by_seed, drawn, axis=1).mean(axis=1)
        return means

    def ratio(self, sums: np.ndarray, counts: np.ndarray) -> Interval:
        """Σ sums / Σ counts: the mean over all members, where whole prompts are drawn with their members.

        Args:
            sums, counts: float64 (prompts,): the sum over a prompt's members, and how many these are, each above 0.

        Raises:
            BadInput: no prompt, or a count that is not above 0.
        """
        drawn = self._resampled_ratios(sums, counts)
        return self._interval(float(np.sum(sums) / np.sum(counts)), drawn)

    def ratio_difference(self, a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> Interval:
        """The ratio of a − that of b, each (sums, counts) over the same prompts in the same order.

        Raises:
            BadInput: as `ratio`, or not as many prompts in a as in b.
        """
        if len(a[0]) != len(b[0]):
            raise BadInput(f"sums: {len(a[0])} prompts and {len(b[0])} prompts; give both for the same prompts")
        drawn = self._resampled_ratios(*a) - self._resampled_ratios(*b)
        return self._interval(float(np.sum(a[0]) / np.sum(a[1]) - np.sum(b[0]) / np.sum(b[1])), drawn)

    def _resampled_ratios(self, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
        if not len(counts) or np.min(counts) <= 0:
            raise BadInput(f"counts: {np.asarray(counts).tolist()}; give at least one prompt, each with a member")
        if len(counts) > _MOST_UNITS:  # successive ones are drawn together, so that the weights fit in memory
            starts = np.unique(np.linspace(0, len(counts) - 1, _MOST_UNITS).astype(int))
            sums, counts = np.add.reduceat(sums, starts), np.add.reduceat(counts, starts)
        weights = self._prompt_weights(len(counts))
        ratios: np.ndarray = (weights @ sums) / (weights @ counts)
        return ratios

    def _interval(self, mean: float, drawn: np.ndarray) -> Interval:
        tail = (1 - self.level) / 2
        low, high = np.quantile(drawn, [tail, 1 - tail])
        return Interval(mean, float(low), float(high))

    def _prompt_weights(self, count: int) -> np.ndarray:
        """float64 (resamples, prompts): the weight of each prompt in each resample; every row sums to 1."""
        if count not in self._weights:
            if sum(kept.size for kept in self._weights.values()) > _MOST_KEPT:
                self._weights.clear()
            drawn = np.random.default_rng(self.seed).integers(0, count, (self.resamples, count))
            drawn += count * np.arange(self.resamples)[:, None]
            times = np.bincount(drawn.ravel(), minlength=self.resamples * count)
            self._weights[count] = times.reshape(self.resamples, count) / count
        return self._weights[count]


def _names(prompt_ids: list[str]) -> str:
    """The first few of the ids, and how many more there are."""
    more = len(prompt_ids) - _NAMED
    named = ", ".join(map(repr, prompt_ids[:_NAMED]))
    return f"prompt {named}" + (f" and {more} more" if more > 0 else "")
