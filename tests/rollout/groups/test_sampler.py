from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from presets.images import EditorConfig
from presets.settings import RolloutConfig
from rewards.satisfaction import improves, reward_of
from rollout.groups.batches import actor_samples, describe, editor_samples, groups_of, rollout_seconds, scaled_by_batch
from rollout.groups.job import Job, Started
from rollout.groups.sampler import GroupSampler
from rollout.trajectory import TurnSeconds
from scenes.shape_world import sample_graphs
from tests.rollout.scripted_models import Lottery, ScriptedModels, picture

GRAPHS = tuple(islice(sample_graphs("train", 0), 12))
PROMPTS = tuple(Started(50 + k, graph, 7) for k, graph in enumerate(GRAPHS))


def sample(models: ScriptedModels, stage: str = "actor", algorithm: str = "flow_grpo", **settings):
    rollout = RolloutConfig(**{"group_size": 4, "turns": 2, "reward": "hard", **settings})
    return GroupSampler(models, rollout, EditorConfig(), algorithm=algorithm).sample(Job("run", stage, PROMPTS, 11))


@pytest.mark.parametrize("stage", ["actor", "editor"])
def test_every_group_is_whole_and_its_members_start_from_the_same_image(stage):
    groups = groups_of(sample(ScriptedModels(), stage))
    assert len(groups) > len(GRAPHS)  # some prompts have a second turn
    for number, members in groups.items():
        assert {(member.prompt * 2 + member.turn, member.started) for member in members} == {(number, 7)}
        assert [member.member for member in members] == [0, 1, 2, 3]
        assert len({id(member.image_before) for member in members}) == 1  # encoded once
        assert sum(member.carried_on for member in members) <= 1


def test_a_second_turn_starts_from_the_member_that_is_carried_on_or_from_the_same_image_again():
    turns = sample(ScriptedModels(threshold=60, spread=60))
    first = {t.prompt_id: t.image_before for t in turns if t.turn == 0}
    carried = {t.prompt_id: t.image_after for t in turns if t.turn == 0 and t.carried_on}
    seconds = {t.prompt_id: t.image_before for t in turns if t.turn == 1}
    assert seconds.keys() & carried.keys()
    assert seconds.keys() - carried.keys()
    for prompt, image in seconds.items():
        assert image.png == carried.get(prompt, first[prompt]).png


def test_groups_start_from_the_checkers_choice_of_several_drawings():
    models = {count: Lottery(threshold=100) for count in (1, 4)}
    begun = {count: {t.prompt: t for t in sample(one, drawings=count) if t.turn == 0} for count, one in models.items()}
    assert [len(one.drawn) for one in models.values()] == [1, 4]
    both = begun[1].keys() & begun[4].keys()
    assert len(both) > 3
    assert all(begun[4][prompt].reward_before >= begun[1][prompt].reward_before for prompt in both)
    assert any(begun[4][prompt].reward_before > begun[1][prompt].reward_before for prompt in both)


@pytest.mark.parametrize("group", ["turn", "trajectory"])
def test_what_is_carried_on_made_the_image_better(group):
    turns = sample(ScriptedModels(threshold=60, spread=60), group=group)
    assert any(turn.carried_on for turn in turns)
    for turn in turns:
        if turn.carried_on:
            assert improves(turn.satisfaction_before, turn.satisfaction_after)


def test_the_reward_of_a_trajectory_is_that_of_the_image_it_ends_with():
    turns = sample(ScriptedModels(threshold=60, spread=60), group="trajectory")
    compared_groups = 0
    for members in groups_of(turns).values():
        finals = {}
        for turn in sorted(members, key=lambda t: t.turn):
            kept = turn.satisfaction_after if turn.carried_on else turn.satisfaction_before
            finals[turn.member] = reward_of(kept, "hard")
        rewards = np.array([finals[turn.member] for turn in members])
        unique = np.array(list(finals.values()))
        expected = (rewards - unique.mean()) / (unique.std() + 1e-4)
        assert np.allclose([turn.advantage for turn in members], expected)
        compared_groups += np.ptp(unique) > 0
    assert compared_groups


def test_an_answer_that_cannot_be_parsed_has_the_reward_that_the_settings_say():
    turns = sample(ScriptedModels(unparsable_every=3), unparsable_reward=-0.5)
    broken = [turn for turn in turns if turn.image_after is None]
    assert broken
    assert all(turn.reward == -0.5 for turn in broken)
    assert all(turn.reward >= 0 for turn in turns if turn.image_after is not None)


def test_an_episode_ends_when_every_requirement_holds():
    for turn in sample(ScriptedModels(threshold=128)):
        assert min(turn.satisfaction_before) < 0.5
    assert sample(ScriptedModels(threshold=5, first=10)) == []


def test_advantages_are_those_of_the_rewards_of_the_group():
    for members in groups_of(sample(ScriptedModels())).values():
        rewards = np.array([member.reward for member in members])
        expected = (rewards - rewards.mean()) / (rewards.std() + 1e-4)
        assert np.allclose([member.advantage for member in members], expected, atol=1e-12)
        assert all(member.dropped == (np.ptp(rewards) == 0) for member in members)


def test_members_of_an_editor_group_share_one_answer_and_differ_in_the_edit():
    models = ScriptedModels()
    turns = sample(models, "editor", turns=1)
    assert models.asked[0][0] == len(GRAPHS)
    for members in groups_of(turns).values():
        assert len({member.actor_seed for member in members}) == 1
        assert len({member.edit_seed for member in members}) == 4
        assert all(member.flow is not None for member in members)


def test_members_of_an_actor_group_have_answers_of_their_own_and_no_flow():
    models = ScriptedModels()
    turns = sample(models, "actor", turns=1)
    assert models.asked[0][0] == 4 * len(GRAPHS)
    assert len({turn.actor_seed for turn in turns}) == len(turns)
    assert all(turn.flow is None for turn in turns)


@pytest.mark.parametrize("group", ["turn", "trajectory"])
def test_members_of_an_actor_group_share_the_noise_of_the_edit_and_equal_edits_are_made_once(group):
    models = ScriptedModels()
    turns = [turn for turn in sample(models, "actor", group=group, group_size=12) if turn.turn == 0]
    for members in groups_of(turns).values():
        assert len({member.edit_seed for member in members}) == 1
        edited = {member.edit_prompt: member.image_after for member in members}
        assert 1 < len(edited) <= 4
        for member in members:
            assert member.image_after is edited[member.edit_prompt]
    asked = models.edited[0]
    assert len(asked) == len(set(asked)) == len({(turn.prompt, turn.edit_prompt) for turn in turns})


def test_members_of_an_actor_group_have_noise_of_their_own_where_that_is_asked_for():
    models = ScriptedModels()
    turns = sample(models, "actor", turns=1, edit_noise="own")
    assert len({turn.edit_seed for turn in turns}) == len(turns) == len(models.edited[0])


def test_shared_noise_takes_the_luck_of_the_editor_out_of_the_advantages():
    """Where an edit succeeds by its noise alone, no answer is better than another: no group has a signal."""

    class Luck(ScriptedModels):
        def _edit(self, images, prompts, seeds, sde=None, steps=None):
            return [
                replace(edit, image=picture(16 + seed % 240))
                for edit, seed in zip(super()._edit(images, prompts, seeds, sde, steps), seeds, strict=True)
            ]

    assert all(turn.dropped for turn in sample(Luck(), "actor", turns=1))
    assert not all(turn.dropped for turn in sample(Luck(), "actor", turns=1, edit_noise="own"))


def test_an_unparsable_answer_costs_its_member_the_reward_and_nothing_else():
    turns = sample(ScriptedModels(unparsable_every=4), turns=1)
    broken = [turn for turn in turns if turn.reflection is None]
    assert len(broken) == len(GRAPHS)
    assert all(turn.reward == 0.0 and turn.image_after is None for turn in broken)
    assert all(len(members) == 4 for members in groups_of(turns).values())
    assert describe(turns)["unparsable"] == len(GRAPHS)
    assert describe(turns)["unread"] == {"no edit": len(GRAPHS)}
    assert describe(turns)["truncated"] == 0


@pytest.mark.parametrize("group", ["turn", "trajectory"])
def test_an_answer_that_was_cut_off_pays_its_penalty_and_may_be_left_out_of_learning(group):
    plain = sample(ScriptedModels(), turns=1, group=group)
    turns = sample(ScriptedModels(cut_every=4), turns=1, group=group, truncated_penalty=0.25)
    assert [turn.truncated for turn in turns] == [k % 4 == 0 for k in range(len(turns))]
    assert describe(turns)["truncated_share"] == 0.25
    for turn, before in zip(turns, plain, strict=True):
        assert turn.reward == before.reward - 0.25 * turn.truncated
    for members in groups_of(turns).values():  # it counts for what the others are compared with
        rewards = np.array([member.reward for member in members])
        assert members[1].advantage == pytest.approx((rewards[1] - rewards.mean()) / (rewards.std() + 1e-4))
    assert len(actor_samples(turns)) == len(turns)
    assert len(actor_samples(turns, truncated=False)) == len(turns) - describe(turns)["truncated"] < len(turns)


def test_an_editor_group_without_an_edit_prompt_teaches_nothing_and_is_kept():
    turns = sample(ScriptedModels(unparsable_every=1), "editor", turns=2)
    assert len(turns) == 4 * len(GRAPHS)  # nothing is left to go on with
    assert all(turn.dropped and turn.advantage is None and turn.unread == "no edit" for turn in turns)
    assert editor_samples(turns) == []
    assert sorted({(turn.group, turn.member) for turn in turns}) == sorted((t.group, t.member) for t in turns)


def test_trajectory_groups_give_all_turns_of_a_member_its_final_advantage():
    turns = sample(ScriptedModels(), group="trajectory")
    groups = groups_of(turns)
    assert len(groups) == len(GRAPHS)
    for members in groups.values():
        finals = {t.member: t.reward for t in members}
        rewards = np.array(list(finals.values()))
        expected = dict(zip(finals, (rewards - rewards.mean()) / (rewards.std() + 1e-4), strict=True))
        for turn in members:
            assert turn.advantage == pytest.approx(expected[turn.member], abs=1e-12)
    assert any(turn.turn == 1 for turn in turns)


@pytest.mark.parametrize("group", ["turn", "trajectory"])
def test_turns_carry_the_seconds_that_the_models_computed_for_their_batch(group):
    models = ScriptedModels()
    turns = sample(models, group=group)
    for turn in turns:
        assert turn.compute_seconds == TurnSeconds(draw=1.5, reflect=2.0, edit=4.0, check=0.5)  # a draw is checked, too
    computed = rollout_seconds(turns, "compute_seconds")
    assert computed == {"draw": 1.5, "reflect": 4.0, "edit": 8.0, "check": 1.0}  # two turns
    assert sum(computed.values()) == sum(
        getattr(models, name).compute_seconds for name in ("diffuser", "actor", "editor", "checker")
    )


def test_the_same_job_samples_the_same_and_another_seed_does_not():
    first, again = sample(ScriptedModels()), sample(ScriptedModels())
    assert [t.edit_seed for t in first] == [t.edit_seed for t in again]
    rollout = RolloutConfig(group_size=4, turns=2, reward="hard")
    other = GroupSampler(ScriptedModels(), rollout, EditorConfig()).sample(Job("run", "actor", PROMPTS, 12))
    assert {t.edit_seed for t in first}.isdisjoint(t.edit_seed for t in other)


def test_samples_leave_dropped_groups_out():
    turns = sample(ScriptedModels(), "editor")
    kept = [turn for turn in turns if not turn.dropped]
    assert len(kept) > 0
    assert len(editor_samples(turns)) == len(kept)
    assert len(actor_samples(turns)) == len(kept)
    assert editor_samples(turns)[0].path.log_probs.tolist() == [-1.0]


@pytest.mark.parametrize("group", ["turn", "trajectory"])
def test_advantages_can_be_scaled_by_the_batch_or_not_at_all(group):
    by_group, unscaled, batch = (
        sample(ScriptedModels(), group=group, advantage_scale=scale) for scale in ("group", "none", "batch")
    )
    assert [t.advantage for t in unscaled] == [t.advantage for t in batch]  # the rest is the update's
    kept = [turn for turn in batch if not turn.dropped]
    members = {(turn.group, turn.member): turn.advantage for turn in kept}
    deviation = np.sqrt(np.mean(np.square(list(members.values()))))
    scaled = scaled_by_batch(kept)
    for before, after in zip(kept, scaled, strict=True):
        assert after.advantage == pytest.approx(before.advantage / (deviation + 1e-4), rel=1e-12)
    ratios = {}
    for one, other in zip(by_group, unscaled, strict=True):
        if not one.dropped and other.advantage:
            ratios.setdefault(one.group, []).append(one.advantage / other.advantage)
    assert all(np.ptp(found) < 1e-9 for found in ratios.values())
    assert np.ptp([found[0] for found in ratios.values()]) > 0  # each group has a scale of its own


def test_with_nft_edits_are_sampled_by_the_ode_and_their_clean_latents_are_what_is_learnt_from():
    turns = sample(ScriptedModels(), "editor", algorithm="nft")
    samples = editor_samples(turns)
    assert len(samples) == len([turn for turn in turns if not turn.dropped]) > 0
    assert all(one.path.is_clean for one in samples)
    assert len({one.seed for one in samples}) == len(samples)
    by_sde = sample(ScriptedModels(), "editor")
    assert [turn.advantage for turn in turns] == [turn.advantage for turn in by_sde]


def test_the_description_counts_groups_and_takes_the_mean_over_members():
    turns = sample(ScriptedModels(), turns=1)
    groups = groups_of(turns)
    dropped = sum(members[0].dropped for members in groups.values())
    values = describe(turns)
    assert values["groups"] == len(groups) - dropped
    assert values["groups_dropped"] == dropped
    assert values["reward_mean"] == pytest.approx(np.mean([turn.reward for turn in turns]))
