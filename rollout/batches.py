"""From trajectories to what a learner trains on, and to what a person reads about an update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from learner.samples import ActorSample, EditorSample
from rollout.trajectory import Turn


def groups_of(turns: Sequence[Turn]) -> dict[int, list[Turn]]:
    """Turns by the number of their group, in the order of the groups."""
    groups: dict[int, list[Turn]] = {}
    for turn in sorted(turns, key=lambda turn: (turn.group, turn.member, turn.turn)):
        groups.setdefault(turn.group, []).append(turn)
    return groups


def actor_samples(turns: Sequence[Turn]) -> list[ActorSample]:
    """One sample for each answer with an advantage; those of dropped groups are left out."""
    return [
        ActorSample(turn.image_before, turn.request, turn.token_ids, turn.token_log_probs, turn.advantage)
        for turn in turns
        if not turn.dropped and turn.token_ids
    ]


def editor_samples(turns: Sequence[Turn]) -> list[EditorSample]:
    """One sample for each stochastic edit with an advantage; those of dropped groups are left out."""
    return [
        EditorSample(turn.image_before, turn.edit_prompt, turn.flow, turn.advantage)
        for turn in turns
        if not turn.dropped and turn.flow is not None
    ]


def describe(turns: Sequence[Turn]) -> dict[str, Any]:
    """Rewards and counts of one update's turns, dropped groups included.

    `reward_mean` is over all members; `reward_std` is the mean of the groups' standard deviations, which is what the
    advantages are made of.
    """
    groups = groups_of(turns)
    finals = {g: {turn.member: turn.reward for turn in members} for g, members in groups.items()}
    rewards = [np.array(list(members.values())) for members in finals.values()]
    dropped = sum(members[0].dropped for members in groups.values())
    return {
        "reward_mean": float(np.mean(np.concatenate(rewards))) if rewards else None,
        "reward_std": float(np.mean([r.std() for r in rewards])) if rewards else None,
        "reward_before": float(np.mean([turn.reward_before for turn in turns])) if turns else None,
        "groups": len(groups) - dropped,
        "groups_dropped": dropped,
        "turns": len(turns),
        "unparsable": sum(turn.reflection is None for turn in turns),
    }


def rollout_seconds(turns: Sequence[Turn]) -> dict[str, float]:
    """Seconds of drawing, reflecting, editing and checking. Turns of one batch share their times, which count once."""
    batches = {(turn.turn, turn.seconds.reflect, turn.seconds.edit, turn.seconds.check) for turn in turns}
    return {
        "draw": sum({turn.seconds.draw for turn in turns}),
        "reflect": sum(reflect for _, reflect, _, _ in batches),
        "edit": sum(edit for _, _, edit, _ in batches),
        "check": sum(check for _, _, _, check in batches),
    }
