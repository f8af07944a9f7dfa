"""The truth of a picture of the shape world: the fraction of its requirements that the exact extractor finds to hold.

It is measured beside the Checker's reward and never trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from rewards.satisfaction import HOLDS
from rollout.trajectory import Turn
from scenes.extractors import extract, satisfied
from scenes.scene_graph import Requirement, parse_prompt
from scenes.shape_world import PREDICATES


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
        holds = holds_in(turn.image_after.pixels, turn.requirements)
        truths.append(float(np.mean(holds)))
        here[0] += truths[-1]
        agreed += [(p >= HOLDS) == h for p, h in zip(turn.satisfaction_after, holds, strict=True)]
    return {
        "truth_mean": float(np.mean(truths)) if truths else None,
        "checker_agreement": float(np.mean(agreed)) if agreed else None,
        "truth_by_prompt": by_prompt,
    }
