"""Whether the reward still means what it should: its gap to the truth, and the runs that game it.

The truth is measured beside the reward (`rewards/truth.py`) and never trained on. So are scorers with the weight 0,
such as `preservation` and `sharpness`: what they did meanwhile is told, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

LEAST_UPDATES = 6
LEAST_GAP = 0.1  # a tenth of what a reward can be
CONFIDENCE = 0.95
EXACT_TRUTH = "ground truth (exact)"
_TRUTHS = {"detector": "truth (detector)", "vlm": "truth (VLM)"}
_CLOSE = 1e-6


@dataclass(frozen=True)
class Trend:
    """What reward and truth did over a stretch of updates. Rises are those of least-squares lines from the first to the
    last update; `gamed` says that the reward rose at the truth's expense. `truth` is what measures it, in words,
    `watched` the rises of the scorers with the weight 0, and `scorers` those that the reward is made of, empty for the
    Checker alone or a reward of the user's own."""

    policy: str
    updates: int
    reward_rise: float
    truth_rise: float
    gamed: bool
    truth: str = EXACT_TRUTH
    watched: Mapping[str, float] = field(default_factory=dict)
    scorers: tuple[str, ...] = ()

    _reward: ClassVar[str] = "the Checker's reward"
    _gamed: ClassVar[str] = "games its Checker: {numbers}; use a better Checker, soft reward"

    @property
    def text(self) -> str:
        """One sentence for a person."""
        reward = f"the reward ({' + '.join(self.scorers)})" if self.scorers else self._reward
        numbers = (
            f"over {self.updates} {self.policy} updates {reward} changed by {self.reward_rise:+.3f}, the {self.truth} "
            f"by {self.truth_rise:+.3f}"
        )
        if self.watched:
            numbers += ", " + " and ".join(f"{name} by {rise:+.3f}" for name, rise in self.watched.items())
        if not self.gamed:
            return numbers
        gamed = (OwnTrend if self.scorers else type(self))._gamed.format(numbers=numbers)
        return f"the {self.policy} {gamed} or a KL term, and do not trust the reward of this run"


@dataclass(frozen=True)
class OwnTrend(Trend):
    """The same of a reward of the user's own."""

    _reward: ClassVar[str] = "the reward of your own"
    _gamed: ClassVar[str] = "games its reward: {numbers}; use a better reward"


def trend(policy: str, rewards: Sequence[float], truths: Sequence[float]) -> Trend | None:
    """Compare the rise of the reward with that of the truth.

    Gamed means: the gap between reward and truth widens by at least `LEAST_GAP`, its slope being above zero at a
    one-sided 95 % confidence; the reward rises; and the truth rises by less than half as much. The gap decides, because
    it is between two readings of the same images: how hard an update's prompts happened to be moves both. None for
    fewer than 6 updates, which show no trend.

    Args:
        rewards, truths: one mean for each update, in order.
    """
    reward, truth = np.asarray(rewards, dtype=float), np.asarray(truths, dtype=float)
    if len(rewards) != len(truths):
        raise ValueError(f"{len(rewards)} rewards and {len(truths)} truths; give one of each for each update")
    if len(rewards) < LEAST_UPDATES:
        return None
    time = np.arange(len(rewards))
    reward_rise, _ = _rise(time, reward)
    truth_rise, _ = _rise(time, truth)
    gap_rise, gap_low = _rise(time, reward - truth)
    widens = gap_low > 0 and gap_rise >= LEAST_GAP
    gamed = widens and reward_rise > 0 and truth_rise < reward_rise / 2
    return Trend(policy, len(rewards), reward_rise, truth_rise, gamed)


def _rise(time: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """The rise of the least-squares line over the whole time, and its one-sided lower bound."""
    from scipy.special import stdtrit  # scipy.stats takes seconds to load, and pages of runs are to be there at once

    apart, free = time - time.mean(), len(time) - 2
    spread = apart @ apart
    slope = apart @ (values - values.mean()) / spread
    left = values - values.mean() - slope * apart
    bound = slope - stdtrit(free, CONFIDENCE) * np.sqrt(left @ left / free / spread)
    span = time[-1] - time[0]
    return float(slope * span), float(bound * span)


def trends(lines: Sequence[dict[str, Any]], own: bool = False) -> list[Trend]:
    """The trend of each policy over its updates in the lines of `metrics.jsonl`; lines without truth are left out.

    A reward of normalised parts says nothing about its rise: its mean is near 0 in every update. Where parts are not
    the values times their weights, `Σ w·v / Σ |w|` of the values as they came counts instead.

    Args:
        own: the reward is the user's own.
    """
    found = []
    for policy in dict.fromkeys(line["stage"] for line in lines if "stage" in line):
        known = [line for line in lines if line.get("stage") == policy and line.get("truth_mean") is not None]
        normalised = any(_is_normalised(line) for line in known)
        rewards = [_raw_reward(line) if normalised else line.get("reward_mean") for line in known]
        pairs = [(r, line["truth_mean"]) for r, line in zip(rewards, known, strict=True) if r is not None]
        one = trend(policy, [reward for reward, _ in pairs], [truth for _, truth in pairs])
        if one is None:
            continue
        weights = known[-1].get("reward_weights") or {}
        counting = tuple(name for name, weight in weights.items() if weight)
        one = replace(one, truth=truth_words(known), watched=_watched(known, weights))
        if counting not in ((), ("checker",)):
            one = replace(one, scorers=counting)
        found.append(OwnTrend(**asdict(one)) if own else one)
    return found


def truth_words(lines: Iterable[Mapping[str, Any]]) -> str:
    """What measures the truth of these updates, as reports call it."""
    by = {_TRUTHS.get(line.get("truth_by", ""), EXACT_TRUTH) for line in lines if line.get("truth_mean") is not None}
    return " or ".join(sorted(by)) or EXACT_TRUTH


def _watched(lines: Sequence[Mapping[str, Any]], weights: Mapping[str, float]) -> dict[str, float]:
    """The rises of the scorers with the weight 0 that have a value in each of these updates; without the truth itself,
    whose values are those of `truth_mean`."""
    found = {}
    for name in (name for name, weight in weights.items() if not weight and name != lines[-1].get("truth_scorer")):
        values = [(line.get("reward_values") or {}).get(name) for line in lines]
        if None not in values and len(values) >= LEAST_UPDATES:
            found[name], _ = _rise(np.arange(len(values)), np.asarray(values, dtype=float))
    return found


def _is_normalised(line: Mapping[str, Any]) -> bool:
    """Whether a part of the reward is something else than its value times its weight."""
    values, parts = (line.get(table) or {} for table in ("reward_values", "reward_parts"))
    weights = line.get("reward_weights") or {}
    both = [name for name, weight in weights.items() if weight and name in values and name in parts]
    return any(abs(parts[name] - weights[name] * values[name]) > _CLOSE * (1 + abs(values[name])) for name in both)


def _raw_reward(line: Mapping[str, Any]) -> float | None:
    values, weights = (line.get(table) or {} for table in ("reward_values", "reward_weights"))
    counting = {name: weight for name, weight in weights.items() if weight}
    if not counting or not counting.keys() <= values.keys():
        return None
    return float(sum(w * values[n] for n, w in counting.items()) / sum(abs(w) for w in counting.values()))
