"""From an entry of `rewards` to the scorer that it names."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from presets.scoring.scorers import ScorerConfig
from presets.settings import RolloutConfig
from rewards.scorers.checker import CheckerScorer
from rewards.scorers.detector import detector_scorer
from rewards.scorers.guards import Artifact, Sharpness
from rewards.scorers.kept_requirements import KeptRequirements
from rewards.scorers.length import Length
from rewards.scorers.preservation import Preservation
from rewards.scorers.vlm_judge import VlmJudge
from rewards.service.http import HttpScorer
from rewards.turn import ScoredTurn
from scenes.entry_point import EntryPointError, is_entry_point, load_entry_point

Scorer = Callable[[Sequence[ScoredTurn]], Sequence[float]]
"""One number for each turn. See `rewards.values` for what becomes of others."""

_PLAIN: dict[str, Callable[..., Scorer]] = {
    "kept_requirements": KeptRequirements,
    "preservation": Preservation,
    "sharpness": Sharpness,
    "artifact": Artifact,
    "detector": detector_scorer,
}


def new_scorer(entry: ScorerConfig, rollout: RolloutConfig) -> Scorer:
    """The scorer of an entry, in this process.

    Raises:
        EntryPointError: it names code that cannot be used.
        ValueError: its options do not fit; the message names the entry.
    """
    if is_entry_point(entry.scorer):
        return own_scorer(entry.scorer, entry.options)
    try:
        return _shipped(entry, rollout)
    except (TypeError, ValueError) as error:
        raise ValueError(f"rewards, entry {entry.title!r}: options {entry.options} are refused: {error}") from error


def _shipped(entry: ScorerConfig, rollout: RolloutConfig) -> Scorer:
    options = entry.options
    if entry.endpoint is not None:
        limit_s = min(entry.endpoint.deadline_s, entry.deadline_s)
        return VlmJudge(entry.endpoint.model_copy(update={"deadline_s": limit_s}), **options)
    if entry.http is not None:
        return HttpScorer(entry.title, entry.http, entry.deadline_s, options)
    if entry.scorer == "checker":
        return CheckerScorer(rollout.reward, **options)
    if entry.scorer == "length":
        return Length(**{"most": rollout.max_answer_tokens, **options})
    return _PLAIN[entry.scorer](**options)


def own_scorer(name: str, options: dict[str, Any]) -> Scorer:
    """The user's scorer at `module:name`: a function of turns and options, or a class that is made with the options and
    whose objects are called with turns.

    Raises:
        EntryPointError: there is no such code.
    """
    found = load_entry_point("rewards.scorer", name)
    if inspect.isclass(found):
        made: Any = found(**options)
        if not callable(made):
            raise EntryPointError(
                f"rewards.scorer: {name!r} is refused: its objects cannot be called; give it __call__"
            )
        scorer: Scorer = made
        return scorer
    return functools.partial(found, **options) if options else found
