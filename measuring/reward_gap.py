"""Whether the Checker's reward still means what it should: its gap to the truth, and the runs that game the Checker.

The truth of a picture is the fraction of its requirements that the exact extractor finds to hold. It is measured beside
the reward and never trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import stats

from rollout.state import HOLDS
from rollout.trajectory import Turn
from scenes.extractors import extract, satisfied
from scenes.scene_graph import Requirement, parse_prompt
from scenes.shape_world import PREDICATES

LEAST_UPDATES = 6
LEAST_GAP = 0.1  # a tenth of what a reward can be
CONFIDENCE = 0.95


@lru_cache(maxsize=4096)
def _requirement(text: str) -> Requirement:
    return parse_prompt(text, PREDICATES).requirements[0]


def holds_in(image: np.ndarray, requirements: Sequence[str]) -> list[bool]:
    """Whether each of these requirements, as texts, holds in an image (H, W, 3) of the shape world."""
    extraction = extract(image)
    return [satisfied(_requirement(text), extraction) for text in requirements]


def agreement(turns: Sequence[Turn]) -> dict[str, Any]:
    """Truth beside reward, for turns of the shape world.

    `truth_mean` is the mean over all members of the fraction of requirements that hold, an unparsable answer counting
    0 as it does in the reward; `checker_agreement` the share of requirements of edited images on which the Checker,
    cut at ½, says what the extractor finds. None where there is no turn. `truth_by_prompt` holds, for each prompt's
    number, as JSON writes it, the sum of its members' truths and how many they are.
    """
    truths, agreed = [], []
    by_prompt: dict[str, list[float]] = {}
    for turn in turns:
        here = by_prompt.setdefault(str(turn.prompt), [0.0, 0])
        here[1] += 1
        if turn.image_after is None:
            truths.append(0.0)
            continue
        holds = holds_in(turn.image_after, turn.requirements)
        truths.append(float(np.mean(holds)))
        here[0] += truths[-1]
        agreed += [(p >= HOLDS) == h for p, h in zip(turn.satisfaction_after, holds, strict=True)]
    return {
        "truth_mean": float(np.mean(truths)) if truths else None,
        "checker_agreement": float(np.mean(agreed)) if agreed else None,
        "truth_by_prompt": by_prompt,
    }


@dataclass(frozen=True)
class Trend:
    """What reward and truth did over a stretch of updates. Rises are those of least-squares lines from the first to the
    last update; `gamed` says that the reward rose at the truth's expense."""

    policy: str
    updates: int
    reward_rise: float
    truth_rise: float
    gamed: bool

    @property
    def text(self) -> str:
        """One sentence for a person."""
        numbers = (
            f"over {self.updates} {self.policy} updates the Checker's reward changed by {self.reward_rise:+.3f}, the "
            f"truth by {self.truth_rise:+.3f}"
        )
        if not self.gamed:
            return numbers
        return (
            f"the {self.policy} games its Checker: {numbers}; use a better Checker, soft reward or a KL term, and "
            "do not trust the reward of this run"
        )


def trend(policy: str, rewards: Sequence[float], truths: Sequence[float]) -> Trend | None:
    """Compare the rise of the reward with that of the truth.

    Gamed means: the gap between reward and truth widens by at least `LEAST_GAP`, its slope being above zero at a
    one-sided 95 % confidence; the reward rises; and the truth rises by less than half as much. The gap decides, because
    it is between two readings of the same images: how hard an update's prompts happened to be moves both. None for
    fewer than 6 updates, which show no trend.

    Args:
        rewards, truths: one mean for each update, in order.
    """
    rewards, truths = np.asarray(rewards, dtype=float), np.asarray(truths, dtype=float)
    if len(rewards) != len(truths):
        raise ValueError(f"{len(rewards)} rewards and {len(truths)} truths; give one of each for each update")
    if len(rewards) < LEAST_UPDATES:
        return None
    time = np.arange(len(rewards))
    reward_rise, _ = _rise(time, rewards)
    truth_rise, _ = _rise(time, truths)
    gap_rise, gap_low = _rise(time, rewards - truths)
    widens = gap_low > 0 and gap_rise >= LEAST_GAP
    gamed = widens and reward_rise > 0 and truth_rise < reward_rise / 2
    return Trend(policy, len(rewards), reward_rise, truth_rise, gamed)


def _rise(time: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """The rise of the least-squares line over the whole time, and its one-sided lower bound."""
    fit = stats.linregress(time, values)
    span = time[-1] - time[0]
    bound = fit.slope - stats.t.ppf(CONFIDENCE, len(time) - 2) * fit.stderr
    return float(fit.slope * span), float(bound * span)


def trends(lines: Sequence[dict[str, Any]]) -> list[Trend]:
    """The trend of each policy over its updates in the lines of `metrics.jsonl`; lines without truth are left out."""
    found = []
    for policy in dict.fromkeys(line["stage"] for line in lines if "stage" in line):
        pairs = [
            (line["reward_mean"], line["truth_mean"])
            for line in lines
            if line.get("stage") == policy and None not in (line.get("reward_mean"), line.get("truth_mean"))
        ]
        one = trend(policy, [reward for reward, _ in pairs], [truth for _, truth in pairs])
        found += [] if one is None else [one]
    return found
