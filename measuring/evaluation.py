"""Held-out evaluation: whole episodes, measured by an extractor, a judge and, beside them, by the Checker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np

from measuring.image_scorer import ImageScorer, Unscored, tally
from rewards.satisfaction import HOLDS, reward_of
from rewards.scorers.checker import Reading, load_reading
from rollout.episode import play
from rollout.state import Episode, Frame
from scenes.entry_point import is_entry_point
from scenes.scene_graph import SceneGraph
from scenes.scene_graph_iou import SCORES, SceneScores, mean_scores, shares_by_kind

if TYPE_CHECKING:
    from measuring.measures import Measures
    from rollout.episode import Players

PromptScores = dict[str, dict[str, dict[str, float]]]
"""Images (`diffuser`: the first ones, `loop`: the last ones) → metric → prompt id → score."""

EVALUATION_SEED = 20_000  # the same images before and after, so that differences come from the policies


def scene_metrics(results: Sequence[SceneScores | Unscored]) -> dict[str, float | None]:
    """Means over the images that were scored, None where none was: the metrics of `scenes.scene_graph_iou`.

    `all_satisfied` is the fraction of images in which every requirement holds. `satisfied_count` and the like are the
    fractions by kind, where something else than relations is required.
    """
    scores = [result for result in results if not isinstance(result, Unscored)]
    if not scores:
        return dict.fromkeys((*SCORES, "all_satisfied"))
    mean = mean_scores(scores)
    return {
        **{name: None if isnan(value := getattr(mean, name)) else value for name in SCORES},
        "all_satisfied": float(np.mean([one.satisfied >= 1.0 for one in scores])),
        **{f"satisfied_{kind}": share for kind, share in mean.by_kind.items()},
    }


def judge_metrics(results: Sequence[float | Unscored]) -> dict[str, float | None]:
    """The judge's mean over the images that it scored, None where it scored none."""
    scores = [result for result in results if not isinstance(result, Unscored)]
    return {"judge_score": float(np.mean(scores)) if scores else None}


def checker_metrics(shown: Sequence[tuple[Frame, SceneGraph]]) -> dict[str, float]:
    """The mean of the Checker's reward over frames, answers cut at ½; and the share of requirements of each kind that
    it finds met, `checker_count` and the like, where something else than relations is required."""
    kinds: dict[str, list[float]] = {}
    for frame, graph in shown:
        if graph.others:
            asked = [(one.kind, p >= HOLDS) for one, p in zip(graph.requirements, frame.satisfaction, strict=True)]
            for kind, share in shares_by_kind(asked).items():
                kinds.setdefault(f"checker_{kind}", []).append(share)
    reward = float(np.mean([reward_of(frame.satisfaction, "hard") for frame, _ in shown]))
    return {"checker_reward": reward, **{name: float(np.mean(kinds[name])) for name in sorted(kinds)}}


def own_reward(name: str) -> Reading | None:
    """The user's reward that `rollout.reward` names; None where it names one that comes with this code.

    Raises:
        EntryPointError: there is no such code.
    """
    return load_reading(name) if is_entry_point(name) else None


def own_metrics(rewards: Sequence[float]) -> dict[str, float | None]:
    """The mean of the user's own reward over the images where it is finite, None where it is nowhere."""
    finite = [reward for reward in rewards if np.isfinite(reward)]
    return {"own_reward": float(np.mean(finite)) if finite else None}


def evaluate_models(
    models: Players,
    graphs: Sequence[SceneGraph],
    turns: int,
    measures: Measures,
    own_reward: Reading | None = None,
    drawings: int = 1,
) -> tuple[dict[str, dict[str, Any]], list[Episode], PromptScores]:
    """Play one greedy episode for each graph, and measure the first and the last image of each.

    Args:
        own_reward: the user's reward, where the run trains on one: it is measured as `own_reward`, too.
        drawings: first images at most, of which the Checker chooses.

    Returns:
        Metrics, the episodes, and the score of each prompt that the metrics are means of. `diffuser` holds the means
        over first images, `loop` those over last images, both of the Checker and of what `measures` holds;
        `extraction` and `judge` say which images these scored, which not and why, and what that cost.
    """
    episodes = play(models, graphs, EVALUATION_SEED, turns, drawings=drawings)
    frames = {"diffuser": [e.frames[0] for e in episodes], "loop": [e.answer for e in episodes]}
    metrics: dict[str, dict[str, Any]] = {"diffuser": {}, "loop": {}}
    scores: PromptScores = {name: {} for name in frames}
    for block, scorer, summarise in (
        ("extraction", measures.extractor, scene_metrics),
        ("judge", measures.judge, judge_metrics),
    ):
        if scorer is not None:
            results, metrics[block] = _score_episodes(scorer, episodes)
            for name in frames:
                metrics[name] |= summarise(results[name])
                scores[name] |= _each(graphs, results[name], summarise)
    for name in frames:
        shown = list(zip(frames[name], graphs, strict=True))
        metrics[name] |= checker_metrics(shown)
        scores[name] |= _each(graphs, shown, checker_metrics)
        if own_reward is not None:
            worth = [
                own_reward(frame.satisfaction, frame.image, graph)
                for frame, graph in zip(frames[name], graphs, strict=True)
            ]
            metrics[name] |= own_metrics(worth)
            scores[name] |= _each(graphs, worth, own_metrics)
    turns_used = [float(len(episode.frames) - 1) for episode in episodes]
    metrics["loop"]["turns_used"] = float(np.mean(turns_used))
    scores["loop"]["turns_used"] = {graph.img_id: used for graph, used in zip(graphs, turns_used, strict=True)}
    return metrics, episodes, scores


def _each(
    graphs: Sequence[SceneGraph], results: Sequence[Any], summarise: Callable[[list[Any]], Mapping[str, float | None]]
) -> dict[str, dict[str, float]]:
    """By metric and prompt id what `summarise` says of one result; what was not scored is left out."""
    found: dict[str, dict[str, float]] = {}
    for graph, result in zip(graphs, results, strict=True):
        for metric, value in summarise([result]).items():
            if value is not None:
                found.setdefault(metric, {})[graph.img_id] = value
    return found


def _score_episodes(
    scorer: ImageScorer[Any], episodes: Sequence[Episode]
) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """The results for first and last images, and the account. An image that is both is scored once."""
    edited = [k for k, episode in enumerate(episodes) if len(episode.frames) > 1]
    graphs = [episode.graph for episode in episodes]
    images = [episode.frames[0].image for episode in episodes]
    results = scorer.score(
        [*graphs, *(graphs[k] for k in edited)], [*images, *(episodes[k].answer.image for k in edited)]
    )
    first = results[: len(episodes)]
    last = list(first)
    for k, result in zip(edited, results[len(episodes) :], strict=True):
        last[k] = result
    account = {**scorer.report(), **tally(results)}
    for name, part in (("diffuser", first), ("loop", last)):
        account[name] = {count: tally(part)[count] for count in ("n_scored", "n_failed")}
    return {"diffuser": first, "loop": last}, account
