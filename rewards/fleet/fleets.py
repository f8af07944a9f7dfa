"""The scorers of a run that are Ray actors: started together, called in whole groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from actors.fleet import Fleet
from rewards.fleet.worker import ScorerWorker
from rewards.turn import ScoredTurn
from rewards.values import Values

if TYPE_CHECKING:
    from presets.run_config import RunConfig

_RESTARTS = -1  # the deadline of a call is the limit


def start_fleets(config: RunConfig, note: Callable[[str], None] = lambda _: None) -> dict[str, Fleet]:
    """The fleet of each entry of `rewards` that has one, by the entry's name, when all have loaded.

    Raises:
        FleetError: one did not start in time; those that did are ended again.
    """
    fleets: dict[str, Fleet] = {}
    with ExitStack() as undo:
        for entry in config.rewards:
            if (wanted := entry.fleet) is None:
                continue
            options: dict[str, Any] = {"num_cpus": wanted.cpus, "num_gpus": wanted.gpus, "max_restarts": _RESTARTS}
            fleet = Fleet.start(
                ScorerWorker,
                wanted.workers,
                {**options, **config.placement.actor_options("image")},
                deadline_s=entry.deadline_s / 2,  # a worker that hangs is ended, and another try fits in
                restart_s=config.rollout.restart_s,
                start_deadline_s=wanted.start_deadline_s,
                entry=entry,
                rollout=config.rollout,
            )
            undo.callback(fleet.close)
            fleets[entry.title] = fleet
            note(f"scorer {entry.title}: {wanted.workers} ready")
        undo.pop_all()
    return fleets


def score_in_fleet(fleet: Fleet, turns: Sequence[ScoredTurn]) -> Values:
    """The values of all turns, in their order. A group is scored by one worker.

    Raises:
        FleetError: a worker did not answer, and did not come back. Or what the scorer raises.
    """
    groups: dict[int, list[int]] = {}
    for place, turn in enumerate(turns):
        groups.setdefault(turn.group, []).append(place)
    answers = fleet.split_call("score", [[[turns[place] for place in places] for places in groups.values()]])
    values: Values = [None] * len(turns)
    for places, given in zip(groups.values(), answers, strict=True):
        for place, value in zip(places, given, strict=True):
            values[place] = value
    return values


def close_fleets(fleets: Mapping[str, Fleet]) -> None:
    """End all of their processes."""
    for fleet in fleets.values():
        fleet.close()
