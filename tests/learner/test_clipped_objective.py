import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from learner.clipped_objective import clipped_objective, drift_of, truncated_importance


def objective_and_gradient(ratio: float, advantage: float, low: float = 0.2, high: float = 0.3):
    log_probs = torch.tensor([math.log(ratio)], dtype=torch.float64, requires_grad=True)
    behaviour = torch.zeros(1, dtype=torch.float64)
    advantages = torch.tensor([advantage], dtype=torch.float64)
    objective, _, clipped = clipped_objective(log_probs, behaviour, advantages, low, high)
    objective.sum().backward()
    return objective.item(), log_probs.grad.item(), clipped.item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "objective", "clipped"),
    [
        (1.5, 2.0, 1.3 * 2, True),  # better than the group and already likelier: no further
        (0.5, 2.0, 0.5 * 2, False),  # better and less likely: pulled back up
        (0.5, -2.0, 0.8 * -2, True),  # worse and already less likely: no further
        (1.5, -2.0, 1.5 * -2, False),  # worse and likelier: pushed down
        (1.25, 2.0, 1.25 * 2, False),  # the upper bound is 1.3, not 1.2
        (0.75, -2.0, 0.8 * -2, True),  # the lower bound is 0.8, not 0.7
    ],
)
def test_the_clip_acts_on_its_own_side_only(ratio, advantage, objective, clipped):
    value, gradient, was_clipped = objective_and_gradient(ratio, advantage)
    assert value == pytest.approx(objective, rel=1e-12)
    assert was_clipped is clipped
    assert gradient == pytest.approx(0.0 if clipped else ratio * advantage, rel=1e-12)


@given(st.floats(-2, 2), st.floats(-3, 3), st.floats(1.1, 5))
def test_the_dual_clip_is_the_formula_of_its_paper(log_ratio, advantage, bound):
    log_probs = torch.tensor([log_ratio], dtype=torch.float64, requires_grad=True)
    advantages = torch.tensor([advantage], dtype=torch.float64)
    objective, _, clipped = clipped_objective(log_probs, torch.zeros(1).double(), advantages, 0.2, 0.3, bound)
    objective.sum().backward()
    ratio = math.exp(log_ratio)
    plain = min(ratio * advantage, min(max(ratio, 0.8), 1.3) * advantage)
    expected = max(plain, bound * advantage) if advantage < 0 else plain
    assert objective.item() == pytest.approx(expected, rel=1e-12, abs=1e-12)
    acted = advantage < 0 and plain < bound * advantage
    assert clipped.item() or not acted
    if acted:
        assert log_probs.grad.item() == 0


def test_the_drift_is_the_k3_estimate_and_zero_before_the_first_step():
    new, old = torch.tensor([-1.0, -2.0]).double(), torch.tensor([-1.5, -1.0]).double()
    expected = [math.exp(0.5) - 1 - 0.5, math.exp(-1) - 1 + 1]
    assert drift_of(new, old).tolist() == pytest.approx(expected, rel=1e-12)
    assert drift_of(new, new).tolist() == [0, 0]


@given(st.floats(-3, 3))
def test_the_gradient_at_ratio_one_is_that_of_reinforce(advantage):
    _, gradient, clipped = objective_and_gradient(1.0, advantage)
    assert gradient == pytest.approx(advantage, abs=1e-12)
    assert not clipped


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_the_objective_is_never_above_the_unclipped_one(log_ratio, advantage):
    value, _, _ = objective_and_gradient(math.exp(log_ratio), advantage)
    assert value <= math.exp(log_ratio) * advantage + 1e-9


def test_importance_is_truncated_and_carries_no_gradient():
    learner = torch.tensor([-1.0, -1.0, -1.0], requires_grad=True)
    weight = truncated_importance(learner, torch.tensor([-1.0, -0.5, -4.0]), cap=2.0)
    torch.testing.assert_close(weight, torch.tensor([1.0, math.exp(-0.5), 2.0]))
    assert not weight.requires_grad


def test_without_a_cap_there_is_no_importance_correction() -> None:
    weights = truncated_importance(torch.tensor([-1.0, -2.0]), torch.tensor([-3.0, -1.0]), None)
    assert weights.tolist() == [1.0, 1.0]
