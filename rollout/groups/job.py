"""What an EnvRunner is asked to sample, or to draw ahead of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rewards.combination import Scale
from rollout.incidents import Incidents
from rollout.state import State
from scenes.scene_graph import SceneGraph


@dataclass(frozen=True)
class Started:
    """A prompt that is being sampled: its position in the run's stream of prompts, the updates that were complete when
    it was started, and its first image, checked, where that was drawn before."""

    prompt: int
    graph: SceneGraph
    version: int
    state: State | None = None


@dataclass(frozen=True)
class Job:
    """What one EnvRunner is asked to sample: these prompts, for the policy that trains.

    What is sampled for a prompt follows from the run's `seed` and the prompt's position alone, whichever job it is
    part of. `scales` are those of the scorers' values in the updates so far. With `ahead`, first images are all that is
    asked for."""

    run: str
    stage: str
    prompts: tuple[Started, ...]
    seed: int
    scales: Mapping[str, Scale] = field(default_factory=dict)
    ahead: bool = False


@dataclass(frozen=True)
class Drawn:
    """The answer to a job `ahead`: the first image of each prompt, checked, and the seconds that models computed."""

    states: list[State]
    compute_seconds: float
    incidents: Incidents = field(default_factory=Incidents)
