"""When the Inverse Diffuser's workers can be the ranks of its learner, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from learner.config import LearnerConfig
    from presets.settings import RunSettings

RANK_IS_WORKER = {"ranks": "workers", "cpus_per_rank": "cpus", "gpus_per_rank": "gpus"}
"""Settings of `learner.editor` that follow from settings of `editor` where one process is both."""

_WHERE = "is refused with editor.colocated"


def is_colocated(config: RunSettings) -> bool:
    """Whether the editor's workers are the ranks of its learner."""
    return config.editor.colocated and "editor" in config.trained


def own_learners(config: RunSettings) -> dict[str, LearnerConfig]:
    """The learners that have processes of their own, by policy."""
    policies = sorted(config.trained - ({"editor"} if is_colocated(config) else set()))
    return {policy: getattr(config.learner, policy) for policy in policies}


def uncolocatable(config: RunSettings) -> list[str]:
    """What `editor.colocated` cannot go with: each line names the key, its value and a way out."""
    if not is_colocated(config):
        return []
    editor, learner = config.editor, config.learner.editor
    problems = []
    if learner.lora is None:
        problems.append(
            f"learner.editor.lora: null {_WHERE}: only an adapter trains beside weights that stay as they are. "
            "Set learner.editor.lora, or leave editor.colocated out"
        )
    for name, source in {**RANK_IS_WORKER, "dtype": "dtype"}.items():
        rank, worker = getattr(learner, name), getattr(editor, source)
        if rank != worker:
            problems.append(
                f"learner.editor.{name}: {_shown(rank)} {_WHERE}: a rank is a worker, and editor.{source} is "
                f"{_shown(worker)}. Set both alike"
            )
    if learner.zero_stage == 3:
        problems.append(
            f"learner.editor.zero_stage: 3 {_WHERE}: no rank would have the whole model to sample with. Set "
            "learner.editor.zero_stage=2"
        )
    if staleness := config.rollout.max_staleness:
        problems.append(
            f"rollout.max_staleness: {staleness} {_WHERE}: a rank cannot sample while it trains. Set "
            "rollout.max_staleness=0"
        )
    if learner.ema:
        problems.append(
            f"learner.editor.ema: {learner.ema:g} {_WHERE}: evaluations would need the average in the place of what "
            "trains. Set learner.editor.ema=0"
        )
    if editor.most_workers > editor.workers:
        problems.append(
            f"editor.max_workers: {editor.max_workers} {_WHERE}: the number of ranks is fixed. Leave it out"
        )
    problems += [
        f"{key}: 'cpu' {_WHERE}: its processes work in both turns, and leave their GPUs in none. Set {key}=none"
        for key in ("editor.offload", "learner.editor.offload")
        if config.value_of(key) == "cpu"
    ]
    if config.sync.editor != "object_store":
        problems.append(f"sync.editor: {config.sync.editor!r} {_WHERE}: no weights are sent. Leave it out")
    if any("learner.editor" in group for group in config.placement.share):
        problems.append(
            f"placement.share: 'learner.editor' {_WHERE}: its ranks are the editor's workers. Name the editor alone"
        )
    if learner.ranks > 1 and 0 < editor.gpus <= 0.5 and not any("editor" in group for group in config.placement.share):
        problems.append(
            f"editor.gpus: {editor.gpus:g} {_WHERE} and {learner.ranks} workers: two ranks on one GPU cannot exchange "
            "gradients. Set more than 0.5, or placement.share"
        )
    return problems


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
