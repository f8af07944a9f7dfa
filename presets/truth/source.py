"""What measures the truth while a run trains, which no reward may use: `data.truth`.

Outside the shape world it is an entry of `rewards` with the weight 0: it runs as the scorers do, and decides nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from presets.data import Truth
from presets.scoring.scorers import ScorerConfig
from presets.settings import HUB_PREFIX

if TYPE_CHECKING:
    from presets.settings import RunSettings

EXACT: Truth = "exact"
_SCORERS: dict[str, str] = {"detector": "detector", "vlm": "vlm_judge"}


@dataclass(frozen=True)
class TruthSource:
    """What measures: `exact`, `detector` or `vlm`, and the name of the scorer that does so, empty for `exact`."""

    kind: Truth
    scorer: str = ""


def truth_source(config: RunSettings) -> TruthSource | None:
    """What measures the truth of a run; None for nothing. Without `data.truth`: exact in the shape world alone."""
    kind = config.data.truth
    if kind is None:
        return TruthSource(EXACT) if config.data.source == "shape_world" else None
    entry = truth_entry(config)
    return TruthSource(kind) if entry is None else TruthSource(kind, entry.title)


def truth_entry(config: RunSettings) -> ScorerConfig | None:
    """The entry of `rewards` that measures the truth; None where it is none of these."""
    return next((entry for _, entry in _candidates(config)), None)


def _candidates(config: RunSettings) -> list[tuple[int, ScorerConfig]]:
    scorer = _SCORERS.get(config.data.truth or "")
    return [(k, one) for k, one in enumerate(config.rewards) if one.scorer == scorer and not one.weight]


def impossible_truth(config: RunSettings) -> list[str]:
    """Why `data.truth` cannot be measured, or would be no truth: each line names the key, its value and a way out."""
    kind = config.data.truth
    if kind is None:
        return []
    if kind == EXACT:
        if config.data.source == "shape_world":
            return []
        return [
            f"data.truth: 'exact' is refused with data.source {config.data.source!r}: it reads drawn shapes only. Set "
            "data.truth=detector with an entry of rewards that is the scorer detector with weight 0, or vlm with a "
            "vlm_judge of weight 0"
        ]
    scorer, found = _SCORERS[kind], _candidates(config)
    if len(found) != 1:
        return [
            f"data.truth: {kind!r} is refused: {len(found)} entries of rewards are the scorer {scorer!r} with weight "
            f"0, one is needed. Have one with scorer: {scorer}, weight: 0 and required: false"
        ]
    place, entry = found[0]
    problems = []
    if entry.required:
        problems.append(
            f"rewards.{place}.required: True is refused with data.truth {kind!r}: a member without its value would be "
            "rejected, so that it decides what is trained on. Set it to false"
        )
    if unmeasured := [policy for policy in sorted(config.trained) if not entry.counts_for(policy)]:
        problems.append(
            f"rewards.{place}.apply_to: {entry.apply_to!r} is refused with data.truth {kind!r}: the {unmeasured[0]} "
            "trains, too. Set it to both"
        )
    return problems + [
        f"data.truth: {kind!r} is refused: {user} uses {model!r}, which measures the truth in rewards.{place}. What a "
        "reward is made of is no truth about it. Name another model there, or set the other weight to 0"
        for model in [_model_of(entry)]
        for user in _users(config, kind, model)
    ]


def _model_of(entry: ScorerConfig) -> str:
    return entry.endpoint.model if entry.endpoint is not None else str(entry.options.get("model", ""))


def _users(config: RunSettings, kind: Truth, model: str) -> Iterator[str]:
    """The keys of what decides about rewards by this model."""
    for place, entry in enumerate(config.rewards):
        if not entry.weight:
            continue
        if kind == "detector":
            boxes = entry.options.get("boxes")
            models = {"options.model": entry.options.get("model")} if entry.scorer == "detector" else {}
            models |= {"options.boxes.model": boxes.get("model")} if isinstance(boxes, dict) else {}
            yield from (f"rewards.{place}.{key}" for key in _same_folder(models, model))
        elif entry.endpoint is not None and entry.endpoint.model == model:
            yield f"rewards.{place}.endpoint.model"
        elif entry.scorer == "checker" and _name(config.models.checker) == _name(model):
            yield f"models.checker, which rewards.{place} asks,"


def _same_folder(models: dict[str, Any], model: str) -> Sequence[str]:
    here = os.path.realpath(os.path.expanduser(model))
    return [key for key, other in models.items() if os.path.realpath(os.path.expanduser(str(other))) == here]


def _name(model: str) -> str:
    return model.removeprefix(HUB_PREFIX).rstrip("/").casefold()
