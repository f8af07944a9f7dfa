"""Held-out evaluation: whole episodes, measured by the exact extractor and, beside it, by the Checker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rollout.episode import Episode, Frame, play, reward_of
from scenes.extractors import extract
from scenes.scene_graph import SceneGraph
from scenes.scene_graph_iou import mean_scores, score

if TYPE_CHECKING:
    from rollout.models import Models

EVALUATION_SEED = 20_000  # the same images before and after, so that differences come from the policies


def measure(graphs: Sequence[SceneGraph], frames: Sequence[Frame]) -> dict[str, float]:
    """Means over prompts: the metrics of `scenes.scene_graph_iou`, by the extractor, and the Checker's reward.

    `all_satisfied` is the fraction of images in which every requirement holds.
    """
    scores = [score(graph, extract(frame.image)) for graph, frame in zip(graphs, frames, strict=True)]
    mean = mean_scores(scores)
    return {
        "sg_iou": mean.sg_iou,
        "entity_iou": mean.entity_iou,
        "relation_iou": mean.relation_iou,
        "satisfied": mean.satisfied,
        "all_satisfied": float(np.mean([one.satisfied >= 1.0 for one in scores])),
        "checker_reward": float(np.mean([reward_of(frame.satisfaction, "hard") for frame in frames])),
    }


def evaluate_models(
    models: Models, graphs: Sequence[SceneGraph], turns: int, extractable: bool = True
) -> tuple[dict[str, dict[str, Any]], list[Episode]]:
    """Play one greedy episode for each graph: metrics of the Diffuser alone and of the loop, and the episodes.

    Where the exact extractor does not know the world (`extractable` false), only the Checker's reward is measured.
    """
    episodes = play(models, graphs, EVALUATION_SEED, turns)
    first, last = [e.frames[0] for e in episodes], [e.last for e in episodes]
    if extractable:
        metrics = {"diffuser": measure(graphs, first), "loop": measure(graphs, last)}
    else:
        metrics = {
            name: {"checker_reward": float(np.mean([reward_of(f.satisfaction, "hard") for f in frames]))}
            for name, frames in (("diffuser", first), ("loop", last))
        }
    metrics["loop"]["turns_used"] = float(np.mean([len(e.frames) - 1 for e in episodes]))
    return metrics, episodes
