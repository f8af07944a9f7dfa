"""Whether the Checker's reward still means what it should: its gap to the truth, and the runs that game the Checker.

The truth is measured beside the reward (`rollout/truth.py`) and never trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

LEAST_UPDATES = 6
LEAST_GAP = 0.1  # a tenth of what a reward can be
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Trend:
    """What reward and truth did over a stretch of updates. Rises are those of least-squares lines from the first to the
    last update; `gamed` says that the reward rose at the truth's expense."""

    policy: str
    updates: int
    reward_rise: float
    truth_rise: float
    gamed: bool

    _reward: ClassVar[str] = "the Checker's reward"
    _gamed: ClassVar[str] = "games its Checker: {numbers}; use a better Checker, soft reward"

    @property
    def text(self) -> str:
        """One sentence for a person."""
        numbers = (
            f"over {self.updates} {self.policy} updates {self._reward} changed by {self.reward_rise:+.3f}, the ground "
            f"truth (exact) by {self.truth_rise:+.3f}"
        )
        if not self.gamed:
            return numbers
        gamed = self._gamed.format(numbers=numbers)
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

    Args:
        own: the reward is the user's own.
    """
    found = []
    for policy in dict.fromkeys(line["stage"] for line in lines if "stage" in line):
        pairs = [
            (line["reward_mean"], line["truth_mean"])
            for line in lines
            if line.get("stage") == policy and None not in (line.get("reward_mean"), line.get("truth_mean"))
        ]
        one = trend(policy, [reward for reward, _ in pairs], [truth for _, truth in pairs])
        found += [] if one is None else [OwnTrend(**asdict(one)) if own else one]
    return found
