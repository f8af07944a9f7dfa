from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from measuring.reward_gap import trend, trends


def test_a_reward_that_rises_without_the_truth_is_gaming() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, (2, 12))
    rewards = np.linspace(0.5, 0.8, 12) + noise[0]
    found = trend("editor", rewards, 0.5 + noise[1])
    assert found.gamed
    assert found.reward_rise == pytest.approx(0.3, abs=0.03)
    assert abs(found.truth_rise) < 0.03
    assert "games its Checker" in found.text


def test_how_hard_the_prompts_of_an_update_are_hides_no_gaming_and_a_small_gap_is_none() -> None:
    steps = np.linspace(0, 1, 16)
    hardness = np.random.default_rng(3).normal(0, 0.08, 16)
    gamed = trend("editor", 0.4 + 0.08 * steps + hardness, 0.4 - 0.13 * steps + hardness)
    assert gamed.gamed
    assert not trend("editor", 0.4 + 0.08 * steps + hardness, 0.4 + 0.03 * steps + hardness).gamed


@pytest.mark.parametrize(("reward_rise", "truth_rise"), [(0.2, 0.2), (0.0, 0.0), (0.2, 0.15), (-0.2, -0.2)])
def test_a_truth_that_goes_along_is_no_gaming(reward_rise: float, truth_rise: float) -> None:
    noise = np.random.default_rng(1).normal(0, 0.02, (2, 12))
    steps = np.linspace(0, 1, 12)
    assert not trend("actor", 0.5 + reward_rise * steps + noise[0], 0.5 + truth_rise * steps + noise[1]).gamed


def test_noise_alone_is_rarely_called_gaming() -> None:
    rng = np.random.default_rng(2)
    flags = [trend("actor", *rng.normal(0.5, 0.03, (2, 12))).gamed for _ in range(400)]
    assert np.mean(flags) < 0.05


def test_trends_go_by_policy_and_need_enough_updates() -> None:
    lines = [{"stage": "actor", "reward_mean": 0.5, "truth_mean": 0.5} for _ in range(3)]
    lines += [{"stage": "editor", "reward_mean": 0.5 + k / 20, "truth_mean": 0.4} for k in range(8)]
    assert [(one.policy, one.updates, one.gamed) for one in trends(lines)] == [("editor", 8, True)]
    assert trends([{"stage": "actor", "reward_mean": 0.5} for _ in range(9)]) == []
    with pytest.raises(ValueError, match="3 rewards and 2 truths"):
        trend("actor", [1, 2, 3], [1, 2])


def test_a_reward_of_one_s_own_is_called_so_and_keeps_its_numbers() -> None:
    lines = [{"stage": "actor", "reward_mean": 0.1 * k, "truth_mean": 0.3} for k in range(8)]
    (own,), (checker,) = trends(lines, own=True), trends(lines)
    assert asdict(own) == asdict(checker)
    assert own.text.startswith(
        "the actor games its reward: over 8 actor updates the reward of your own changed by +0.700"
    )
    assert "games its Checker: over 8 actor updates the Checker's reward changed by +0.700" in checker.text
