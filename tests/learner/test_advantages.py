import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.advantages import EPSILON, batch_scale, group_advantages, has_signal

rewards_of_a_group = st.lists(st.floats(0, 1), min_size=2, max_size=24)


def test_values_by_hand():
    # mean 1/2, population standard deviation 1/2
    np.testing.assert_allclose(group_advantages(np.array([0.0, 1.0])), [-0.5 / 0.5001, 0.5 / 0.5001], rtol=1e-12)
    # mean 1/4, population variance (3·1/16 + 9/16)/4 = 3/16
    expected = (np.array([0, 0, 0, 1]) - 0.25) / (np.sqrt(3 / 16) + 1e-4)
    np.testing.assert_allclose(group_advantages(np.array([0, 0, 0, 1])), expected, rtol=1e-12)


@given(rewards_of_a_group)
def test_advantages_sum_to_zero_and_keep_the_order(rewards):
    advantages = group_advantages(np.array(rewards))
    assert abs(advantages.sum()) < 1e-6
    order = np.argsort(rewards, kind="stable")
    assert (np.diff(advantages[order]) >= -1e-12).all()


@given(rewards_of_a_group, st.integers(-4, 4))
def test_a_constant_added_to_all_rewards_changes_nothing(rewards, constant):
    shifted = group_advantages(np.array(rewards) + constant)
    np.testing.assert_allclose(shifted, group_advantages(np.array(rewards)), atol=1e-8)


@given(rewards_of_a_group, st.floats(0.01, 100))
def test_a_factor_on_all_rewards_changes_nothing_but_the_epsilons_part(rewards, factor):
    rewards = np.array(rewards)
    advantages, scaled = group_advantages(rewards), group_advantages(factor * rewards)
    std = rewards.std()
    # A(r)·(std + ε) = r − mean = A(c·r)·(std + ε/c)
    np.testing.assert_allclose(scaled * (std + EPSILON / factor), advantages * (std + EPSILON), atol=1e-12)
    if std > 0:
        bound = np.abs(advantages).max() * EPSILON * abs(1 - 1 / factor) / std
        assert np.abs(scaled - advantages).max() <= bound + 1e-9


@given(rewards_of_a_group)
def test_advantages_have_unit_scale_up_to_the_epsilon(rewards):
    std = np.std(rewards)
    assert group_advantages(np.array(rewards)).std() == pytest.approx(std / (std + EPSILON), abs=1e-9)


@given(rewards_of_a_group)
def test_without_a_scale_only_the_mean_is_taken_away(rewards):
    rewards = np.array(rewards)
    expected = np.zeros_like(rewards) if np.ptp(rewards) == 0 else rewards - rewards.mean()
    for scale in ("none", "batch"):
        np.testing.assert_allclose(group_advantages(rewards, scale), expected, atol=1e-15)
    np.testing.assert_allclose(group_advantages(rewards) * (rewards.std() + EPSILON), expected, atol=1e-9)


@given(st.lists(rewards_of_a_group, min_size=1, max_size=6))
def test_the_scale_of_a_batch_is_the_deviation_within_its_groups(groups):
    advantages = [a for rewards in groups for a in group_advantages(np.array(rewards), "batch")]
    squares = sum((r - sum(rewards) / len(rewards)) ** 2 for rewards in groups for r in rewards if np.ptp(rewards) > 0)
    assert batch_scale(advantages) == pytest.approx((squares / len(advantages)) ** 0.5 + EPSILON, abs=1e-9)


def test_a_batch_without_members_has_no_scale():
    with pytest.raises(ValueError, match="advantages is empty"):
        batch_scale([])


@given(rewards_of_a_group, st.randoms(use_true_random=False))
def test_a_members_advantage_does_not_depend_on_its_place(rewards, random):
    order = list(range(len(rewards)))
    random.shuffle(order)
    moved = group_advantages(np.array(rewards)[order])
    np.testing.assert_allclose(moved, group_advantages(np.array(rewards))[order], atol=1e-9)


@given(st.floats(0, 1), st.integers(2, 24))
def test_equal_rewards_have_no_signal(reward, size):
    rewards = np.full(size, reward)
    assert not has_signal(rewards)
    assert (group_advantages(rewards) == 0).all()


def test_different_rewards_have_signal():
    assert has_signal(np.array([0.5, 0.5, 0.75]))


@pytest.mark.parametrize("rewards", [[], [1.0], [[1.0, 0.0]]])
def test_groups_without_comparison_are_refused(rewards):
    with pytest.raises(ValueError, match="at least 2 members"):
        group_advantages(np.array(rewards))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rewards_must_be_finite(value):
    with pytest.raises(ValueError, match="not finite"):
        group_advantages(np.array([0.0, value]))
