"""What one update was: the line of `metrics.jsonl`, from the turns, the learner and the replicas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from presets.scoring.scorers import ScorerConfig
from presets.truth.source import TruthSource
from rewards.numbers import describe_parts
from rewards.truth import truth_of_update
from rollout.groups.batches import describe, rollout_seconds, staleness
from rollout.incidents import Incidents
from rollout.object_store import object_store_bytes
from rollout.trajectory import Turn
from weights.received import describe_weights

if TYPE_CHECKING:
    from learner.stats import LearnerStats
    from rollout.groups.stream import GroupStream
    from rollout.models import Models
    from weights.manifest import WeightUpdate
    from weights.receipts import WeightReceipt


def update_record(
    number: int,
    stage: str,
    turns: Sequence[Turn],
    early_prompts: int,
    versions: Mapping[str, int],
    stats: LearnerStats,
    update: WeightUpdate,
    receipts: Sequence[WeightReceipt],
    stream: GroupStream,
    models: Models,
    workers: Mapping[str, int],
    seconds: Mapping[str, float],
    truth: TruthSource | None,
    rewards: Sequence[ScorerConfig],
) -> dict[str, Any]:
    """Everything about one update, as JSON values.

    Args:
        early_prompts: prompts that the learner began on while others were sampled.
        versions: of both policies, after it.
        workers: that the driver counts, by role; those of the VLMs are asked for here.
        seconds: wall clock of the phases that are no part of the turns: `learn`, `sync`.
        truth: what measures it, None for nothing.
        rewards: the scorers of the run.
    """
    waited, drawing = stream.first_images.seconds()
    walls, computed = rollout_seconds(turns), rollout_seconds(turns, "compute_seconds")
    return {
        "update": number,
        "stage": stage,
        **describe(turns),
        **describe_parts(turns, rewards),
        **truth_of_update(turns, truth),
        **{f"{policy}_version": version for policy, version in versions.items()},
        "staleness": staleness(turns),
        "early_prompts": early_prompts,
        "workers": {**workers, "actor": models.actor_vlm.running(), "checker": models.checker_vlm.running()},
        "restarts": stream.restarts,
        "requeued": stream.requeued,
        **asdict(stream.incidents + Incidents.so_far(models)),
        "logprob_mismatch": stats.logprob_mismatch_max,
        "seconds": {**walls, "draw": walls["draw"] + waited, **seconds},
        "compute_seconds": {**computed, "draw": computed["draw"] + drawing, "learn": stats.compute_seconds},
        "learner": stats.as_dict(),
        "weights": describe_weights(update, receipts),
        "answer_tokens": sum(len(turn.token_ids) for turn in turns),
        "images": len({(turn.prompt, turn.draw_seed) for turn in turns if turn.draw_seed is not None})
        + sum(turn.image_after is not None for turn in turns),
        "gpu_bytes": models.peak_gpu_bytes() | ({"learner": stats.gpu_bytes} if stats.gpu_bytes else {}),
        "object_store_bytes": object_store_bytes(),
    }


def numbers_of(values: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], float]]:
    """All numbers of a nested dictionary with their paths; booleans are none."""
    found: list[tuple[tuple[str, ...], float]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            found += numbers_of(value, (*prefix, key))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append(((*prefix, key), float(value)))
    return found
