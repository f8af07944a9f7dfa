from itertools import pairwise

import numpy as np
import pytest

from benchmarks.training_batches import actor_batch, editor_batch, group_scenes
from learner.vlm_policy import VlmPolicy
from presets.run_config import RunConfig
from presets.run_file import load_config
from tests.places import PRESET


@pytest.fixture(scope="module")
def run() -> RunConfig:
    preset = PRESET
    return load_config(preset, ["rollout.group_size=2", "editor.steps=3", "editor.sde_window=[0, 2]"])


def images_differ(samples) -> list[bool]:
    return [not np.array_equal(a.image, b.image) for a, b in pairwise(samples)]


def test_members_of_a_group_share_their_scene():
    scenes = group_scenes(5, 2, 0, (2, 3))
    assert [scenes.index(scene) for scene in scenes] == [0, 0, 2, 2, 4]
    assert group_scenes(5, 2, 0, (2, 3)) == scenes


def test_answers_carry_the_actors_own_log_probabilities(run):
    samples = actor_batch(run, 3)
    assert images_differ(samples) == [False, True]
    policy = VlmPolicy(run.models.actor, run.learner.actor)
    (batch,) = policy.batches(samples)
    evaluation = policy.evaluate(policy.module, batch)
    assert policy.mismatch(batch, evaluation.log_probs.detach()).max() < 1e-5
    assert {sample.advantage for sample in samples} == {1.0, -1.0}


def test_edits_carry_the_paths_of_the_presets_sampler(run):
    samples = editor_batch(run, 3)
    assert images_differ(samples) == [False, True]
    assert samples[0].edit_prompt == samples[1].edit_prompt
    assert not np.array_equal(samples[0].path.latents, samples[1].path.latents)
    assert all(len(sample.path) == 2 and sample.path.eta == run.editor.eta for sample in samples)
