from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from measuring.reward_gap import trend, trends, truth_words


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


def _lines(rewards: Sequence[float], truths: Sequence[float], **tables: Any) -> list[dict[str, Any]]:
    """Lines of an editor's updates on real pictures, with the tables of each update in `tables`."""
    by = {"truth_by": "detector", "truth_scorer": "owl"}
    return [
        {"stage": "editor", "reward_mean": r, "truth_mean": t, **by, **{name: rows[k] for name, rows in tables.items()}}
        for k, (r, t) in enumerate(zip(rewards, truths, strict=True))
    ]


def test_the_flag_names_what_measures_what_is_rewarded_and_what_the_watched_scorers_did() -> None:
    steps = np.linspace(0, 1, 8)
    weights = {"bright": 1.0, "owl": 0.0, "preservation": 0.0, "sharpness": 0.0}
    values = [{"bright": 0.3 + 0.4 * s, "owl": 0.6 - 0.2 * s, "preservation": 0.9 - 0.5 * s} for s in steps]
    values[3]["sharpness"] = 0.5  # of one update alone: no trend
    parts = [{"bright": one["bright"], "owl": 0.0} for one in values]
    tables = {"reward_values": values, "reward_parts": parts, "reward_weights": [weights] * 8}
    (found,) = trends(_lines(0.3 + 0.4 * steps, 0.6 - 0.2 * steps, **tables))
    assert found.gamed
    assert found.text == (
        "the editor games its reward: over 8 editor updates the reward (bright) changed by +0.400, the truth "
        "(detector) by -0.200, preservation by -0.500; use a better reward or a KL term, and do not trust the reward "
        "of this run"
    )


def test_a_normalised_reward_is_compared_by_the_values_as_they_came() -> None:
    """Its own mean is 0 in every update, and would rise nowhere."""
    steps = np.linspace(0, 1, 8)
    tables = {
        "reward_values": [{"checker": 0.3 + 0.4 * s} for s in steps],
        "reward_parts": [{"checker": 0.0}] * 8,
        "reward_weights": [{"checker": 2.0, "owl": 0.0}] * 8,
    }
    (found,) = trends(_lines(np.zeros(8), np.full(8, 0.5), **tables))
    assert found.gamed
    assert found.reward_rise == pytest.approx(0.4)
    (honest,) = trends(_lines(np.zeros(8), 0.3 + 0.4 * steps, **tables))
    assert not honest.gamed


def test_the_words_for_the_truth_are_those_of_what_measured_it() -> None:
    exact, none = {"truth_mean": 0.5}, {"truth_mean": None, "truth_by": "vlm"}
    assert truth_words([exact, none]) == truth_words([]) == "ground truth (exact)"
    assert truth_words([{"truth_mean": 0.5, "truth_by": "vlm"}]) == "truth (VLM)"
