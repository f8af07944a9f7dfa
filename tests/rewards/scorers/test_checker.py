import sys
from pathlib import Path

import numpy as np
import pytest

from presets.images import EditorConfig
from presets.settings import RolloutConfig
from rewards.scorers.checker import load_reading
from rollout.groups.job import Job, Started
from rollout.groups.sampler import GroupSampler
from scenes.entry_point import EntryPointError
from scenes.shape_world import sample_scene
from tests.rollout.scripted_models import ScriptedModels

SCENE = sample_scene(np.random.default_rng(0), img_id="scene")

OWN = """
def brightness(satisfaction, image, graph):
    return image.mean() / 255

def of_nothing(satisfaction, image, graph):
    return "much"
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module with rewards."""
    (tmp_path / "rewards_of_a_test.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "rewards_of_a_test", raising=False)
    return "rewards_of_a_test"


def test_the_rewards_that_are_there() -> None:
    assert load_reading("soft")([0.9, 0.4], SCENE.image, SCENE.graph) == pytest.approx(0.65)
    assert load_reading("hard")([0.9, 0.4], SCENE.image, SCENE.graph) == 0.5


def test_a_reward_of_the_users_is_given_probabilities_image_and_graph(own: str) -> None:
    value = load_reading(f"{own}:brightness")([0.1], SCENE.image, SCENE.graph)
    assert type(value) is float
    assert value == pytest.approx(SCENE.image.mean() / 255)


def test_what_is_no_number_is_named(own: str) -> None:
    with pytest.raises(TypeError, match=rf"rollout\.reward: {own}:of_nothing returned str 'much'; return one float"):
        load_reading(f"{own}:of_nothing")([0.1], SCENE.image, SCENE.graph)
    with pytest.raises(EntryPointError, match=r"rollout\.reward: .* has no darkness"):
        load_reading(f"{own}:darkness")


@pytest.mark.parametrize("group", ["turn", "trajectory"])
def test_a_group_is_compared_by_the_users_reward(own: str, group: str) -> None:
    settings = RolloutConfig(group_size=4, turns=2, group=group, reward=f"{own}:brightness")
    models = ScriptedModels(threshold=100)
    prompts = (Started(3, SCENE.graph, 0),)
    turns = GroupSampler(models, settings, EditorConfig()).sample(Job("run", "actor", prompts, 11))
    assert turns
    for turn in turns:
        assert turn.reward == pytest.approx(turn.image_after.pixels.mean() / 255)
        assert turn.reward_before == pytest.approx(turn.image_before.pixels.mean() / 255)
    if group == "turn":
        first = sorted((turn for turn in turns if turn.turn == 0), key=lambda turn: turn.reward)
        assert [turn.advantage for turn in first] == sorted(turn.advantage for turn in first)
        assert first[0].advantage < 0 < first[-1].advantage
