"""The truth about the pictures of an update: measured beside the reward by what no reward uses, and never trained on.

In the shape world it is exact: the fraction of the requirements that the exact extractor finds to hold. Elsewhere it is
what a scorer with the weight 0 gave, see `presets.truth.source`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from presets.truth.source import EXACT, TruthSource
from rewards.part import Part
from rewards.satisfaction import HOLDS
from scenes.extractors import extract, satisfied
from scenes.scene_graph import Requirement, parse_prompt
from scenes.shape_world import PREDICATES


class Pixels(Protocol):
    """An image, `scenes.png.Picture`."""

    @property
    def pixels(self) -> np.ndarray: ...


class Seen(Protocol):
    """A turn of a member, `rollout.trajectory.Turn`."""

    @property
    def prompt(self) -> int: ...

    @property
    def image_after(self) -> Pixels | None: ...

    @property
    def requirements(self) -> list[str]: ...

    @property
    def satisfaction_after(self) -> list[float]: ...

    @property
    def reward_parts(self) -> list[Part] | None: ...


@lru_cache(maxsize=4096)
def _requirement(text: str) -> Requirement:
    return parse_prompt(text, PREDICATES).related[0]


def holds_in(image: np.ndarray, requirements: Sequence[str]) -> list[bool]:
    """Whether each of these requirements, as texts, holds in an image (H, W, 3) of the shape world."""
    extraction = extract(image)
    return [satisfied(_requirement(text), extraction) for text in requirements]


def truth_of_update(turns: Sequence[Seen], source: TruthSource | None) -> dict[str, Any]:
    """What the line of an update says about the truth; nothing where nothing measures it."""
    if source is None:
        return {}
    return agreement(turns) if source.kind == EXACT else judged(turns, source)


def agreement(turns: Sequence[Seen]) -> dict[str, Any]:
    """Truth beside reward, for turns of the shape world.

    `truth_mean` is the mean over all members of the fraction of requirements that hold, an unparsable answer counting
    0 as it does in the reward; `checker_agreement` the share of requirements of edited images on which the Checker,
    cut at ½, says what the extractor finds. None where there is no turn. `truth_by_prompt` holds, for each prompt's
    number, as JSON writes it, the sum of its members' truths and how many they are.
    """
    truths, agreed = [], []
    for turn in turns:
        if turn.image_after is None:
            truths.append(0.0)
            continue
        holds = holds_in(turn.image_after.pixels, turn.requirements)
        truths.append(float(np.mean(holds)))
        agreed += [(p >= HOLDS) == h for p, h in zip(turn.satisfaction_after, holds, strict=True)]
    mean, by_prompt = _summed(turns, truths)
    return {
        "truth_mean": mean,
        "checker_agreement": float(np.mean(agreed)) if agreed else None,
        "truth_by_prompt": by_prompt,
    }


def judged(turns: Sequence[Seen], source: TruthSource) -> dict[str, Any]:
    """The same by what a scorer gave, without `checker_agreement`. `truth_by` and `truth_scorer` are what measures;
    `truth_missing` counts the edited images without a value, which the means leave out: nobody knows what they show."""
    values = [_value_of(turn, source.scorer) for turn in turns]
    mean, by_prompt = _summed(turns, values)
    missing = sum(value is None for value in values)
    measured = {"truth_by": source.kind, "truth_scorer": source.scorer, "truth_missing": missing}
    return {"truth_mean": mean, "truth_by_prompt": by_prompt, **measured}


def _value_of(turn: Seen, scorer: str) -> float | None:
    if turn.image_after is None:
        return 0.0
    found = [part.value for part in turn.reward_parts or () if part.name == scorer]
    return found[0] if found and np.isfinite(found[0]) else None


def _summed(turns: Sequence[Seen], truths: Sequence[float | None]) -> tuple[float | None, dict[str, list[float]]]:
    """The mean of the values that there are, and by prompt their sum and count."""
    by_prompt: dict[str, list[float]] = {}
    for turn, truth in zip(turns, truths, strict=True):
        if truth is not None:
            here = by_prompt.setdefault(str(turn.prompt), [0.0, 0])
            here[0] += truth
            here[1] += 1
    known = [truth for truth in truths if truth is not None]
    return (float(np.mean(known)) if known else None), by_prompt
