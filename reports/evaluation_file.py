"""What `rlrig eval` leaves: the means, an interval of each, and the scores of single prompts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.intervals import Bootstrap, Scores
from reports.number import INTERVALS
from reports.tables import DIFFERENCE
from scenes.whole_file import whole_file

if TYPE_CHECKING:
    from measuring.evaluation import PromptScores

Bounds = dict[str, dict[str, dict[str, float]]]


def intervals(scores: PromptScores, bootstrap: Bootstrap) -> Bounds:
    """By images and metric: `mean`, `low`, `high`, over prompts. `loop − diffuser` is what the loop adds to the first
    image, paired by prompt. A metric that fewer than two prompts have is left out."""
    found: Bounds = {}
    for images, by_metric in scores.items():
        for metric, by_prompt in by_metric.items():
            if len(by_prompt) > 1:
                interval = bootstrap.mean(Scores.from_cells({0: by_prompt}))
                found.setdefault(images, {})[metric] = asdict(interval)
    loop, diffuser = scores.get("loop", {}), scores.get("diffuser", {})
    for metric in loop.keys() & diffuser.keys():
        both = loop[metric].keys() & diffuser[metric].keys()
        if len(both) > 1:
            after, before = (
                Scores.from_cells({0: {prompt: arm[metric][prompt] for prompt in both}}) for arm in (loop, diffuser)
            )
            found.setdefault(DIFFERENCE, {})[metric] = asdict(bootstrap.difference(after, before).absolute)
    return found


def write_evaluation(
    path: Path, made_of: Mapping[str, Any], metrics: Mapping[str, Any], scores: PromptScores
) -> dict[str, Any]:
    """Write an evaluation as JSON; the file appears complete or not at all.

    Args:
        made_of: what was measured: `run`, `settings`, `turns`, …
        metrics: what `evaluate_models` gives.

    Returns:
        What was written, but for the scores of single prompts.
    """
    found = {
        **made_of,
        "metrics": dict(metrics),
        "intervals": {"what": INTERVALS["held_out_prompts"], **intervals(scores, Bootstrap())},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text(json.dumps({**found, "scores": scores}, indent=2, default=str) + "\n", encoding="utf-8")
    return found
