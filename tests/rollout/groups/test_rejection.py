from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from actors.flow_path import FlowPath
from presets.images import EditorConfig
from presets.settings import RolloutConfig
from rewards.part import Worth
from rollout.groups.batches import actor_samples, describe, editor_samples
from rollout.groups.comparison import compared
from rollout.groups.job import Job, Started
from rollout.groups.rejection import poisoned, rejection, rejections
from rollout.groups.sampler import GroupSampler
from scenes.png import Picture
from scenes.shape_world import sample_graphs
from tests.rollout.scripted_models import ScriptedModels

PROMPTS = tuple(Started(k, graph, 0) for k, graph in enumerate(islice(sample_graphs("train", 0), 3)))
SETTINGS = RolloutConfig(group_size=4, turns=1, reward="hard")


def turns_of(models: ScriptedModels, stage: str = "editor"):
    return GroupSampler(models, SETTINGS, EditorConfig()).sample(Job("run", stage, PROMPTS, 5))


def path(latent: float = 0.0, log_prob: float = -1.0) -> FlowPath:
    return FlowPath(np.full((2, 4, 2), latent), np.array([1.0, 0.5]), np.array([log_prob]), 0.7)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"reward": float("nan")}, "the reward is not finite"),
        ({"satisfaction_after": [0.5, float("nan")]}, "the Checker gave no probability"),
        ({"token_log_probs": [-0.5, float("-inf")]}, "a token's log-probability is not finite"),
        ({"flow": path(log_prob=float("inf"))}, "a denoising step is not finite"),
        ({"flow": path(latent=float("nan"))}, "a denoising step is not finite"),
        ({"image_after": Picture(np.zeros((64, 64, 3), np.uint8))}, "the image is black"),
        ({}, None),
    ],
)
def test_a_member_with_a_poisoned_value_is_rejected_with_the_reason(changes, reason):
    turn = next(turn for turn in turns_of(ScriptedModels()) if turn.image_after.pixels.any())
    assert rejection(replace(turn, **changes)) == reason


class Poisoned(ScriptedModels):
    """The Checker has no probability for some pictures."""

    def _satisfaction(self, images, requirements):
        values = super()._satisfaction(images, requirements)
        return [
            [float("nan")] * len(row) if image[0, 0, 0] % 3 == 0 and image[0, 0, 0] != self.first else row
            for image, row in zip(images, values, strict=True)
        ]


def test_rejected_members_take_no_part_in_their_group_and_are_counted():
    turns = turns_of(Poisoned())
    rejected = [turn for turn in turns if turn.rejected]
    assert 0 < len(rejected) < len(turns)
    assert sum(rejections(turns).values()) == len(rejected)
    assert describe(turns)["rejected"] == rejections(turns)
    assert np.isfinite(describe(turns)["reward_mean"])
    assert all(turn.advantage is None and not turn.carried_on for turn in rejected)
    for group in {turn.group for turn in turns}:
        sound = [turn for turn in turns if turn.group == group and not turn.rejected]
        assert sum(turn.advantage for turn in sound) == pytest.approx(0, abs=1e-9)
    kept = [turn for turn in turns if not turn.dropped and not turn.rejected]
    assert len(editor_samples(turns)) == len(actor_samples(turns)) == len(kept)


def test_a_group_with_fewer_than_two_sound_members_is_dropped():
    turns = turns_of(ScriptedModels())[:4]
    broken = [replace(turn, rejected="the image is black") for turn in turns[:3]]
    assert all(dropped for _, _, dropped in compared([*broken, turns[3]], [0.0] * len(broken) + [1.0]))


def test_a_group_whose_rewards_hardly_differ_carries_no_signal_where_that_is_asked_for():
    members = [replace(turn, reward=0.5 + 0.01 * k) for k, turn in enumerate(turns_of(ScriptedModels())[:4])]
    assert [dropped for _, _, dropped in compared(members, [member.reward for member in members], 0.02)] == [True] * 4
    assert [dropped for _, _, dropped in compared(members, [member.reward for member in members], 0.01)] == [False] * 4


def test_what_a_scorer_did_not_give_rejects_a_member_unless_a_model_gave_poison():
    turn = next(turn for turn in turns_of(ScriptedModels()) if turn.image_after.pixels.any())
    missing = Worth.without((), ("length",))
    nan = replace(turn, reward=float("nan"))
    assert rejection(nan, missing) == "scorer length gave no value"
    assert rejection(replace(nan, token_log_probs=[float("nan")]), missing) == "a token's log-probability is not finite"
    told = [replace(turn, rejected=reason) for reason in ("scorer length gave no value", "the image is black", None)]
    assert rejections(told) == {"scorer length gave no value": 1, "the image is black": 1}
    assert poisoned(told) == {"the image is black": 1}
