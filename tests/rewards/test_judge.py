"""Rewards of a job, through the sampler that asks for them."""

import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from presets.images import EditorConfig
from presets.scoring.scorers import ScorerConfig
from presets.settings import RolloutConfig
from rewards.reward import Reward
from rewards.satisfaction import reward_of
from rollout.groups.batches import groups_of
from rollout.groups.job import Job, Started
from rollout.groups.sampler import GroupSampler
from scenes.shape_world import sample_graphs
from tests.rollout.scripted_models import ScriptedModels

PROMPTS = tuple(Started(5 + k, graph, 0) for k, graph in enumerate(islice(sample_graphs("train", 0), 6)))
OWN = """
seen = []

def watch(turns):
    seen.extend(turns)
    return [float(turn.image[0, 0, 0]) for turn in turns]

def sometimes(turns):
    return [float("nan") if not turn.still and turn.image[0, 0, 0] % 2 else 1.0 for turn in turns]

def edits_only(turns):
    return [None if turn.still else 1.0 for turn in turns]
"""


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scorers_of_a_job.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "scorers_of_a_job", raising=False)


def sample(*entries: ScorerConfig, stage: str = "actor", scales=None, first: int = 10, **settings):
    rollout = RolloutConfig(**{"group_size": 4, "turns": 2, "reward": "hard", **settings})
    models = ScriptedModels(threshold=60, spread=60, unparsable_every=5, first=first)
    sampler = GroupSampler(models, rollout, EditorConfig(), Reward(rollout, entries))
    return sampler.sample(Job("run", stage, PROMPTS, 11, scales or {}))


def seen():
    return sys.modules["scorers_of_a_job"].seen


WATCH, SOMETIMES = ScorerConfig(scorer="scorers_of_a_job:watch"), ScorerConfig(scorer="scorers_of_a_job:sometimes")


@pytest.mark.parametrize("stage", ["actor", "editor"])
def test_scorers_see_each_edit_once_with_its_texts_and_each_start_as_a_turn_that_changes_nothing(stage):
    turns = sample(WATCH, stage=stage, turns=1)
    edits, starts = [one for one in seen() if not one.still], [one for one in seen() if one.still]
    assert [one.group for one in starts] == [prompt.prompt for prompt in PROMPTS]
    assert all(one.source is one.image and one.edit_prompt == "" and one.tokens == 0 for one in starts)
    made = {(turn.prompt, turn.edit_prompt, turn.edit_seed) for turn in turns if turn.image_after is not None}
    assert len(edits) == len(made) > 0
    for one in edits:
        assert (one.stage, one.answer, one.tokens, one.reflection) == (stage, "x", 2, "a left of b")
    assert {one.edit_prompt for one in edits} == {edit_prompt for _, edit_prompt, _ in made}
    for turn in turns:
        assert turn.reward_before == 10.0
        if turn.image_after is None:
            assert (turn.reward, turn.reward_parts) == (0.0, None)
        else:
            assert turn.reward == turn.reward_parts[0].value == float(turn.image_after.pixels[0, 0, 0])


def test_an_episode_is_scored_as_one_turn_from_its_first_image_to_its_last():
    checker, kept = ScorerConfig(), ScorerConfig(scorer="kept_requirements", weight=10.0)
    turns = sample(checker, kept, WATCH.model_copy(update={"weight": 0.0}), group="trajectory", turns=3)
    compared = 0
    for members in groups_of(turns).values():
        finals = {}
        for turn in sorted(members, key=lambda turn: turn.turn):
            if turn.image_after is None:
                finals[turn.member] = turn.reward
                continue
            last = turn.satisfaction_after if turn.carried_on else turn.satisfaction_before
            first = next(one for one in members if one.member == turn.member and one.turn == 0).satisfaction_before
            held = [a for b, a in zip(first, last, strict=True) if b >= 0.5]
            finals[turn.member] = reward_of(last, "hard") + 10 * (np.mean(held) if held else 1.0)
        rewards = np.array(list(finals.values()))
        for turn in members:
            expected = (finals[turn.member] - rewards.mean()) / (rewards.std() + 1e-4)
            assert turn.advantage == pytest.approx(0.0 if np.ptp(rewards) == 0 else expected)
        compared += np.ptp(rewards) > 0
    assert compared


@pytest.mark.parametrize("stage", ["actor", "editor"])
def test_a_turn_can_be_worth_what_the_image_is_that_goes_on(stage):
    edited, kept = (sample(ScorerConfig(), stage=stage, turns=1, first=70, reward_of=of) for of in ("edited", "kept"))
    assert [turn.edit_seed for turn in edited] == [turn.edit_seed for turn in kept]
    thrown_away, groups = 0, 0
    for members in groups_of(kept).values():
        rewards = []
        for turn in members:
            before, after = (sum(p >= 0.5 for p in ps) for ps in (turn.satisfaction_before, turn.satisfaction_after))
            held = after if after > before else before  # yes-probabilities are 0 or 1: equally many are no better
            rewards.append(0.0 if turn.image_after is None else held / len(turn.requirements))
        assert [turn.reward for turn in members] == pytest.approx(rewards, abs=1e-12)
        spread = np.std(rewards)
        for turn, reward in zip(members, rewards, strict=True):
            if turn.advantage is None:
                assert turn.dropped
                continue
            assert turn.advantage == pytest.approx(0 if spread == 0 else (reward - np.mean(rewards)) / (spread + 1e-4))
        groups += spread > 0
    for before, after in zip(edited, kept, strict=True):
        thrown_away += before.reward < after.reward
        assert after.reward == max(before.reward, before.reward_before if before.image_after is not None else -1)
        assert after.image_after is None or sum(part.part for part in after.reward_parts) == after.reward
    assert thrown_away
    assert groups


def test_an_edit_that_is_thrown_away_counts_for_nothing_where_a_scorer_knows_it_and_not_its_start():
    edits_only = ScorerConfig(scorer="scorers_of_a_job:edits_only")
    turns = sample(ScorerConfig(), edits_only, turns=1, first=70, reward_of="kept")
    reasons = {turn.rejected for turn in turns if turn.image_after is not None and not turn.carried_on}
    assert "scorer edits_only gave no value" in reasons
    assert all(turn.rejected is None for turn in sample(ScorerConfig(), edits_only, turns=1, first=70))


@pytest.mark.parametrize("group", ["turn", "trajectory"])
def test_a_scorer_without_a_value_costs_the_member_and_the_others_are_compared(group):
    turns = sample(ScorerConfig(), SOMETIMES, group=group, turns=1, edit_noise="own")
    rejected = [turn for turn in turns if turn.rejected]
    assert 0 < len(rejected) < len(turns)
    for turn in turns:
        lost = turn.image_after is not None and bool(turn.image_after.pixels[0, 0, 0] % 2)
        assert turn.rejected == ("scorer sometimes gave no value" if lost else None)
        assert (turn.advantage is None) == lost
        assert not (lost and turn.carried_on)
    optional = SOMETIMES.model_copy(update={"required": False})
    assert not any(turn.rejected for turn in sample(ScorerConfig(), optional, group=group, turns=1))


def test_the_scale_of_the_updates_so_far_comes_with_the_job():
    running = WATCH.model_copy(update={"normalise": "running"})
    turns = sample(running, turns=1, scales={"watch": (100.0, 50.0)})
    for turn in turns:
        if turn.image_after is not None:
            assert turn.reward == pytest.approx((turn.image_after.pixels[0, 0, 0] - 100.0) / 50.0001)
        assert turn.reward_before == pytest.approx(-90 / 50.0001)
