"""From trajectories to what a learner trains on, and to what a person reads about an update."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from learner.advantages import batch_scale
from learner.samples import ActorSample, EditorSample
from rollout.groups.rejection import rejections
from rollout.trajectory import Turn


def groups_of(turns: Sequence[Turn]) -> dict[int, list[Turn]]:
    """Turns by the number of their group, in the order of the groups."""
    groups: dict[int, list[Turn]] = {}
    for turn in sorted(turns, key=lambda turn: (turn.group, turn.member, turn.turn)):
        groups.setdefault(turn.group, []).append(turn)
    return groups


def actor_samples(turns: Sequence[Turn], truncated: bool = True) -> list[ActorSample]:
    """One sample for each answer with an advantage; those of dropped groups are left out, and without `truncated` those
    that were cut off, which have counted in their groups."""
    return [
        ActorSample(turn.start, turn.request, turn.token_ids, turn.token_log_probs, turn.advantage)
        for turn in turns
        if not turn.dropped and turn.advantage is not None and turn.token_ids and (truncated or not turn.truncated)
    ]


def editor_samples(turns: Sequence[Turn]) -> list[EditorSample]:
    """One sample for each stochastic edit with an advantage; those of dropped groups are left out."""
    return [
        EditorSample(turn.start, turn.edit_prompt, turn.flow, turn.advantage, turn.edit_seed or 0)
        for turn in turns
        if not turn.dropped and turn.advantage is not None and turn.flow is not None and turn.edit_prompt is not None
    ]


def scaled_by_batch(turns: Sequence[Turn]) -> list[Turn]:
    """The turns of an update, with unscaled advantages divided by their scale; see `learner.advantages.batch_scale`. A
    member counts once, however many turns it has."""
    members = {(t.group, t.member): t.advantage for t in turns if not t.dropped and t.advantage is not None}
    scale = batch_scale(list(members.values())) if members else 1.0
    return [turn if turn.advantage is None else replace(turn, advantage=turn.advantage / scale) for turn in turns]


def describe(turns: Sequence[Turn]) -> dict[str, Any]:
    """Rewards and counts of one update's turns, dropped groups included, rejected members left out of rewards.

    `reward_mean` is over all members; `reward_std` is the mean of the groups' standard deviations, which is what the
    advantages are made of.
    """
    groups = groups_of(turns)
    finals = [{turn.member: turn.reward for turn in members if turn.rejected is None} for members in groups.values()]
    rewards = [np.array(list(members.values())) for members in finals if members]
    dropped = sum(members[0].dropped for members in groups.values())
    return {
        "reward_mean": float(np.mean(np.concatenate(rewards))) if rewards else None,
        "reward_std": float(np.mean([r.std() for r in rewards])) if rewards else None,
        "reward_before": float(np.mean([turn.reward_before for turn in turns])) if turns else None,
        "groups": len(groups) - dropped,
        "groups_dropped": dropped,
        "turns": len(turns),
        "unparsable": sum(turn.reflection is None for turn in turns),
        "unread": dict(Counter(turn.unread for turn in turns if turn.unread is not None)),
        "truncated": sum(turn.truncated is True for turn in turns),
        "truncated_share": float(np.mean([turn.truncated is True for turn in turns])) if turns else 0.0,
        "rejected": rejections(turns),
    }


def staleness(turns: Sequence[Turn]) -> dict[str, float]:
    """How many updates were completed between the start of a prompt and the update that trains on it."""
    ages = [turn.update - turn.started for turn in turns if not turn.dropped]
    return {"max": float(max(ages, default=0)), "mean": float(np.mean(ages)) if ages else 0.0}


def rollout_seconds(turns: Sequence[Turn], kind: Literal["seconds", "compute_seconds"] = "seconds") -> dict[str, float]:
    """Seconds of drawing, reflecting, editing and checking: wall clock, or the part in which the model computed.

    Turns of one batch share their times, which count once. Batches are told apart by turn and wall clock. All turns of
    a job share its time of drawing. Several EnvRunners work at the same time, and their seconds are added up.
    """
    batches = {(turn.turn, turn.seconds): getattr(turn, kind) for turn in turns}
    draws = {wall.draw: spent.draw for (_, wall), spent in batches.items()}
    phases = {phase: sum(getattr(spent, phase) for spent in batches.values()) for phase in ("reflect", "edit", "check")}
    return {"draw": sum(draws.values()), **phases}
