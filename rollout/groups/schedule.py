"""The scheduler of a run, as it begins and as a checkpoint holds it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollout.scheduling.scheduler import Scheduler
from rollout.scheduling.staleness import Backpressure
from rollout.trajectory import Turn, read_parquet

if TYPE_CHECKING:
    from presets.settings import RolloutConfig


def new_scheduler(settings: RolloutConfig) -> Scheduler[int, list[Turn]]:
    """The scheduler of a run that begins."""
    gate = Backpressure(
        batch=settings.prompts_per_update,
        max_staleness=settings.max_staleness,
        concurrency=settings.concurrency or settings.prompts_per_update,
    )
    return Scheduler(gate, deadline_s=settings.deadline_s)


def saved_scheduler(state: dict[str, Any], folder: Path) -> Scheduler[int, list[Turn]]:
    """The scheduler that `GroupStream.save` wrote.

    Raises:
        ValueError: a group is missing, or the state contradicts itself.
    """
    results = {int(file.stem): read_parquet(file) for file in folder.glob("*.parquet")}
    return Scheduler.from_state(state, results)
