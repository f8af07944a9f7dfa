"""Which roles can be on the same GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from presets.placement import GPU_KEYS, in_order, parts_of_gpus
from presets.sharing.colocated import own_learners

if TYPE_CHECKING:
    from presets.settings import RunSettings


def unshareable_gpus(config: RunSettings, deployed: set[str]) -> list[str]:
    """What of `placement.share` cannot be: each line names the key, its value and a way out.

    Args:
        deployed: the VLMs that have replicas of their own, of `actor` and `checker`.
    """
    problems = _several_ranks_on_one(config)
    parts = parts_of_gpus(config.placement.share)
    for group in config.placement.share:
        if missing := sorted({"actor", "checker"} & set(group) - deployed):
            problems.append(
                f"placement.share: {missing[0]!r} in {group} is refused: the Actor's replicas are the Checker, too. "
                "Name the actor alone, or set vlm.share=false"
            )
            continue
        if config.diffuser.share and "diffuser" in group:
            problems.append(
                f"placement.share: 'diffuser' in {group} is refused with diffuser.share: the editor's workers draw. "
                "Name the editor alone"
            )
        leader, *others = in_order(group)
        if config.learner.keep and {"learner.actor", "learner.editor"} <= set(group):
            problems.append(
                f"learner.keep: true is refused with placement.share {group}: their places are for one learner at a "
                "time. Leave it out, or name one learner in the group"
            )
        for role in (leader, *others):
            key = GPU_KEYS[role]
            value = config.value_of(key)
            if value != parts[key]:
                problems.append(
                    f"{key}: {value:g} is refused: it follows from placement.share, {parts[key]:g}. Leave it out"
                )
            if _grows(config, role):
                problems.append(
                    f"placement.share: {role!r} in {group} is refused: it follows the backlog, and the number of those "
                    "that share is fixed. Leave out its greatest number"
                )
            if role in deployed and _unbounded(config, role):
                problems.append(
                    f"vlm.{role}.kv_cache_gib: null is refused with placement.share {group}: vLLM would fill what the "
                    "others need. Give it a size"
                )
        for role in others:
            if (count := _count(config, role)) > (most := _count(config, leader)):
                problems.append(
                    f"placement.share: {group} is refused: {count} of {role!r} cannot be on the GPUs of {most} of "
                    f"{leader!r}. Raise {_COUNTS[leader]}, or lower {_COUNTS[role]}"
                )
    return problems


SAMPLING = {"diffuser": "diffuser", "editor": "editor", "actor": "vlm.actor", "checker": "vlm.checker"}
"""Sections of the run file that belong to the roles that sample."""

_COUNTS = {
    "diffuser": "diffuser.workers",
    "editor": "editor.workers",
    "actor": "vlm.actor.replicas",
    "checker": "vlm.checker.replicas",
    "learner.actor": "learner.actor.ranks",
    "learner.editor": "learner.editor.ranks",
}
_MOST = {role: f"{key.rpartition('.')[0]}.max_{key.rpartition('.')[2]}" for role, key in _COUNTS.items()}


def _count(config: RunSettings, role: str) -> int:
    count: int = config.value_of(_COUNTS[role])
    return count


def turns_that_cannot_be(config: RunSettings) -> list[str]:
    """Roles that would leave their GPUs while others still need them there."""
    roles = {**SAMPLING, **{f"learner.{policy}": f"learner.{policy}" for policy in sorted(config.trained)}}
    leaving = {role: f"{key}.offload" for role, key in roles.items() if config.value_of(f"{key}.offload") == "cpu"}
    problems = []
    if leaving and (staleness := config.rollout.max_staleness):
        key = next(iter(leaving.values()))
        problems.append(
            f"{key}: 'cpu' is refused with rollout.max_staleness {staleness}: rollouts then go on while the learner "
            f"works, and nobody's turn ends. Set rollout.max_staleness=0, or {key}=none"
        )
    problems += [
        f"{key}: 'cpu' is refused with {_MOST[role]}: one that starts meanwhile would be on its GPU. Leave out the one "
        "or the other"
        for role, key in leaving.items()
        if _grows(config, role)
    ]
    return problems


def _grows(config: RunSettings, role: str) -> bool:
    if role.startswith("learner."):
        return False
    most: int | None = config.value_of(_MOST[role])
    return most is not None and most > _count(config, role)


def _unbounded(config: RunSettings, role: str) -> bool:
    vlm = getattr(config.vlm, role)
    return vlm.kv_cache_gib is None and "gpu_memory_utilization" not in vlm.engine


def _several_ranks_on_one(config: RunSettings) -> list[str]:
    """Learners of which Ray would put two ranks on a GPU, where they cannot exchange gradients."""
    shared = {role for group in config.placement.share for role in group}
    problems = []
    for policy, learner in own_learners(config).items():
        if learner.ranks > 1 and 0 < learner.gpus_per_rank <= 0.5 and f"learner.{policy}" not in shared:
            problems.append(
                f"learner.{policy}.gpus_per_rank: {learner.gpus_per_rank:g} is refused with ranks {learner.ranks}: two "
                "ranks on one GPU cannot exchange gradients. Set more than 0.5, or placement.share"
            )
    return problems
