"""Entries of `rewards` that are fine one by one and cannot hold together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from presets.scoring.scorers import ScorerConfig


def own_scorers(entries: Sequence[ScorerConfig]) -> dict[str, str]:
    """The keys of `rewards` that name a scorer, with what they name."""
    return {f"rewards.{place}.scorer": entry.scorer for place, entry in enumerate(entries)}


def scorer_cpus(entries: Sequence[ScorerConfig]) -> dict[str, float]:
    """Logical CPUs by fleet of scorers."""
    return {
        f"rewards.{entry.title}": entry.fleet.workers * entry.fleet.cpus for entry in entries if entry.fleet is not None
    }


def impossible_rewards(entries: Sequence[ScorerConfig], trained: Collection[str], limit_s: float) -> list[str]:
    """What cannot work of `rewards`: each line names the key, its value and a way out.

    Args:
        trained: the policies that train.
        limit_s: `rollout.deadline_s`.
    """
    names = Counter(entry.title for entry in entries)
    problems = [
        f"rewards: {count} entries are called {name!r}. Give each a name of its own (rewards.0.name)"
        for name, count in names.items()
        if count > 1
    ]
    problems += [
        f"rewards: no entry with a weight counts for the {policy}, which trains. Set apply_to: both, or add one"
        for policy in sorted(trained)
        if not any(entry.counts_for(policy) and entry.weight for entry in entries)
    ]
    problems += [
        f"rewards.{place}.deadline_s: {entry.deadline_s:g} is refused with rollout.deadline_s {limit_s:g}: an "
        "EnvRunner would be ended before it goes on without the scorer. Lower it, or raise the other"
        for place, entry in enumerate(entries)
        if entry.waits and entry.deadline_s >= limit_s
    ]
    return problems
