"""ReflectionGRPO as RLlib's users know algorithms: build, train, save, restore, and a Tuner over it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ray import tune

from presets.errors import BadInput
from rollout.algorithm import ReflectionGRPO, ReflectionGRPOConfig
from tests.local_cluster import local_ray

pytestmark = pytest.mark.engines

SMALL = [
    "stages=[{stage: actor, updates: 1}, {stage: editor, updates: 1}]",
    "rollout.prompts_per_update=2",
    "rollout.group_size=4",
    "rollout.turns=1",
    "diffuser.workers=1",
]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with local_ray(8, store_mib=1024, environment={"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}):
        yield


def test_a_bad_override_is_refused_before_anything_starts():
    with pytest.raises(BadInput, match=r"rollout\.group_size"):
        ReflectionGRPOConfig().reflection(overrides=["rollout.group_size=1"])


AHEAD = [
    "stages=[{stage: actor, updates: 2}, {stage: editor, updates: 1}]",
    "rollout.max_staleness=1",
    "rollout.concurrency=3",
    "rollout.env_runners=2",
    "rollout.reward=soft",
    "rewards=[{scorer: checker}, {scorer: sharpness, normalise: running, weight: 0}]",
]


@pytest.mark.long
def test_rollouts_run_ahead_of_the_learner_and_a_restored_algorithm_continues_where_the_saved_one_was(tmp_path):
    algorithm = ReflectionGRPOConfig().reflection(overrides=SMALL + AHEAD).build_algo()
    try:
        first = algorithm.train()
        assert first["training_iteration"] == 1
        assert 0 <= first["reward_mean"] <= 1
        assert first["learner"]["version"] == 1
        assert first["staleness"]["max"] == 0
        seen = {turn.prompt for turn in algorithm.last_turns}
        second = algorithm.train()
        assert second["staleness"]["max"] == 1  # the third prompt started before the first update
        assert second["actor_version"] == 2
        assert not seen & {turn.prompt for turn in algorithm.last_turns}
        seen |= {turn.prompt for turn in algorithm.last_turns}
        scales = algorithm.stream.scales.state()
        assert set(scales) == {"actor/checker", "actor/sharpness"}
        algorithm.save_to_path(str(tmp_path / "saved"))
        digest = algorithm.last_update["weights"]["digest"]
    finally:
        algorithm.stop()
    restored = ReflectionGRPO.from_checkpoint(str(tmp_path / "saved"))
    try:
        assert restored.updates == 2
        assert restored.stage == "editor"
        assert restored.stream.scales.state() == scales
        assert set(restored.models.actor_vlm.versions().values()) == {2}
        assert restored.policies.learner("actor").weights().manifest.digest == digest
        third = restored.train()
        assert third["training_iteration"] == 3
        assert (third["editor_version"], third["actor_version"]) == (1, 2)
        assert third["staleness"]["max"] == 0  # the other policy's turns were of no use to this one
        assert not seen & {turn.prompt for turn in restored.last_turns}
    finally:
        restored.stop()


@pytest.mark.long
def test_a_tuner_runs_it_and_keeps_a_checkpoint(tmp_path):
    results = tune.Tuner(
        ReflectionGRPO,
        param_space=ReflectionGRPOConfig().reflection(overrides=SMALL),
        run_config=tune.RunConfig(
            storage_path=str(tmp_path),
            name="tuned",
            stop={"training_iteration": 1},
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True),
        ),
    ).fit()
    assert not results.errors
    metrics = results[0].metrics
    assert metrics["training_iteration"] == 1
    assert np.isfinite(metrics["reward_mean"])
    with results[0].checkpoint.as_directory() as folder:
        assert (Path(folder) / "policies" / "actor" / "state.json").is_file()
