"""Scorers that are Ray actors, and what a run makes of their deaths."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from presets.images import EditorConfig
from presets.run_config import RunConfig
from presets.run_file import load_config
from presets.scoring.places import FleetConfig
from presets.scoring.scorers import ScorerConfig
from presets.settings import RolloutConfig
from rewards.fleet.fleets import close_fleets, start_fleets
from rewards.fleet.worker import ScorerWorker
from rewards.numbers import describe_parts
from rewards.reward import Reward
from rollout.groups.batches import describe, groups_of
from rollout.groups.job import Job, Started
from rollout.groups.sampler import GroupSampler
from rollout.trajectory import Turn
from scenes.shape_world import sample_graphs
from tests.local_cluster import shared_ray
from tests.places import PRESET
from tests.rewards.turns import picture, turn
from tests.rollout.scripted_models import ScriptedModels

PROMPTS = tuple(Started(k, graph, 0) for k, graph in enumerate(islice(sample_graphs("train", 0), 4)))
BRIGHT = "tests.rewards.fleet.bright:Bright"


def test_a_worker_scores_whole_groups_in_calls_of_its_batch() -> None:
    entry = ScorerConfig(scorer=BRIGHT, fleet=FleetConfig(batch=2))
    worker = ScorerWorker(entry, RolloutConfig(), "scorer-3")
    groups = [[turn(image=picture(51)), turn(image=picture(102))], [turn(image=picture(255))]]
    assert worker.score(groups) == [[0.2, 0.4], [1.0]]
    assert repr(worker) == "Bright-scorer-3"


def config_of(*entries: dict[str, Any]) -> RunConfig:
    config = load_config(PRESET, ["rollout.group_size=4", "rollout.turns=1", "rollout.restart_s=20"])
    return config.model_copy(update={"rewards": [ScorerConfig(**entry) for entry in entries]})


@pytest.fixture
def sampled() -> Iterator[Any]:
    """Samples jobs with scorers, as an EnvRunner does; all of the fleets end with the test."""
    fleets: dict[str, Any] = {}

    def sample(config: RunConfig, reward: Reward, first: int) -> list[Turn]:
        prompts = tuple(Started(one.prompt + first, one.graph, 0) for one in PROMPTS)
        job = Job("run", "actor", prompts, 11)
        return GroupSampler(ScriptedModels(), config.rollout, EditorConfig(), reward).sample(job)

    def start(config: RunConfig) -> tuple[Any, Reward]:
        fleets.update(start_fleets(config))
        reward = Reward(config.rollout, config.rewards, fleets)
        return lambda first=0: sample(config, reward, first), reward

    with shared_ray():
        yield start
        close_fleets(fleets)


@pytest.mark.engines
def test_a_scorers_actor_that_is_killed_costs_no_run(sampled: Any, tmp_path: Path) -> None:
    import ray

    died = tmp_path / "died"
    options = {"dies_once": str(died)}
    entry = {"scorer": BRIGHT, "name": "bright", "deadline_s": 40.0, "fleet": FleetConfig(cpus=0), "options": options}
    config = config_of({}, entry)
    sample, reward = sampled(config)

    turns = sample()  # its process dies in the middle of the first batch, and another one scores it
    assert died.exists()
    assert reward.fleets["bright"].replaced == 1
    assert not describe(turns)["rejected"]
    for one in turns:
        assert one.reward_parts is not None
        assert one.reward_parts[1].value == pytest.approx(one.image_after.pixels.mean() / 255)
        assert one.reward == one.reward_parts[0].part + one.reward_parts[1].part

    ray.kill(reward.fleets["bright"].handles["ScorerWorker-0"], no_restart=True)  # for good
    short = [ScorerConfig(**{**entry, "deadline_s": 1.0})]
    reward.entries[1:] = short
    turns = sample(100)
    assert describe(turns)["rejected"] == {"scorer bright gave no value": len(turns)}
    assert all(one.advantage is None and one.dropped for one in turns)
    numbers = describe_parts(turns, reward.entries)
    assert numbers["reward_missing"] == {"checker": 0, "bright": len(turns)}
    assert numbers["scorer_seconds"]["bright"] == pytest.approx(1.0, abs=0.5)

    reward.entries[1:] = [short[0].model_copy(update={"required": False})]
    turns = sample(200)
    assert len(groups_of(turns)) == len(PROMPTS)
    assert not describe(turns)["rejected"]
    assert describe_parts(turns, reward.entries)["reward_missing"]["bright"] == len(turns)
    assert all(one.reward == one.reward_parts[0].part for one in turns if one.reward_parts)
    assert any(not one.dropped for one in turns)
    assert np.isfinite([one.reward_before for one in turns]).all()
