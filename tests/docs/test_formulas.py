"""`docs/formulas`: what the page says of formulas, computed once more in float64, and the tests that it names."""

from __future__ import annotations

import ast
import inspect
import math
import re
from itertools import pairwise

import numpy as np
import pytest
import torch

from actors.flow_sde import sde_log_prob, sde_mean_std
from learner.advantages import batch_scale, group_advantages
from learner.clipped_objective import truncated_importance
from learner.flow_loss import gaussian_divergence
from learner.pretraining import vae, vlm, weak_checker
from learner.pretraining.flux import random_edit
from learner.pretraining.vlm_tasks import imperfect_state
from learner.vlm_loss import token_log_probs
from presets.images import EditorConfig
from presets.run_config import RunConfig
from presets.run_file import load_config
from presets.settings import RolloutConfig
from rollout.groups.batches import groups_of
from rollout.groups.sampler import GroupSampler, Job
from scenes.shape_world import random_layout, sample_layout
from scenes.splits import split_of
from tests.docs.pages import DOCS
from tests.places import ROOT
from tests.rollout.groups.test_sampler import PROMPTS
from tests.rollout.scripted_models import ScriptedModels

PAGE = (DOCS / "formulas" / "README.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"(tests/[\w/]+\.py)::(test_\w+)", PAGE)))
PRESETS = [*sorted((ROOT / "presets").glob("*.yaml")), ROOT / "presets" / "tiny" / "run.yaml"]


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_the_page_names_is_there(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_page_names_tests_in_every_row_of_a_formula() -> None:
    parts = PAGE.split("## What they gain")[0].splitlines()
    rows = [line for line in parts if line.startswith("| ") and "held by" not in line and "---" not in line]
    assert len(rows) == 15
    assert all("::test_" in row for row in rows)
    assert len(NAMED) > 12


def test_advantages_against_those_of_the_others() -> None:
    rng = np.random.default_rng(0)
    groups = [rng.uniform(0, 1, 8) for _ in range(5)]
    ours = [group_advantages(rewards) for rewards in groups]
    for rewards, found in zip(groups, ours, strict=True):
        distances = np.array([r - sum(rewards) / 8 for r in rewards])
        population = math.sqrt(sum(distances**2) / 8)
        sample = math.sqrt(sum(distances**2) / 7)
        np.testing.assert_allclose(found, distances / (population + 1e-4), rtol=1e-12)  # flow_grpo's, too
        np.testing.assert_allclose(distances / sample, distances / population * math.sqrt(7 / 8), rtol=1e-12)
        np.testing.assert_allclose(group_advantages(rewards, "none"), distances, atol=1e-15)
    unscaled = np.concatenate([group_advantages(rewards, "batch") for rewards in groups])
    within = math.sqrt(np.mean([rewards.var() for rewards in groups]))
    assert batch_scale(list(unscaled)) == pytest.approx(within + 1e-4, rel=1e-12)
    assert within < np.concatenate(groups).std()  # TRL's and flow_grpo's has what groups differ by in it


def a_step() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x, v, reached = rng.normal(size=(3, 2, 5, 4))
    return x, v, reached


SIGMAS = [1.0, 0.93, 0.82, 0.61, 0.3, 0.1]


@pytest.mark.parametrize(("sigma", "following"), list(pairwise(SIGMAS)))
def test_a_step_of_the_sde_is_that_of_flow_grpo(sigma: float, following: float) -> None:
    x, v, reached = a_step()
    dt, eta = following - sigma, 0.7
    s = eta * math.sqrt(sigma / (1 - (following if sigma == 1 else sigma)))
    mean = x * (1 + s**2 / (2 * sigma) * dt) + v * (1 + s**2 * (1 - sigma) / (2 * sigma)) * dt
    std = s * math.sqrt(-dt)
    log_prob = -((reached - mean) ** 2) / (2 * std**2) - math.log(std) - math.log(math.sqrt(2 * math.pi))
    given = (torch.tensor(x), torch.tensor(v), sigma, following, eta)
    found_mean, found_std = sde_mean_std(*given)
    np.testing.assert_allclose(found_mean.numpy(), mean, rtol=1e-12)
    assert found_std.item() == pytest.approx(std, rel=1e-12)
    np.testing.assert_allclose(sde_log_prob(*given, torch.tensor(reached)).numpy(), log_prob.mean((1, 2)), rtol=1e-12)


@pytest.mark.parametrize(("sigma", "following"), list(pairwise(SIGMAS)))
def test_the_kl_of_the_flow_is_the_gaussians_and_flow_grpos_over_the_length_of_the_step(
    sigma: float, following: float
) -> None:
    x, v, other = a_step()
    length, eta = sigma - following, 0.7
    s = eta * math.sqrt(sigma / (1 - (following if sigma == 1 else sigma)))
    (mean, std), (reference, _) = (
        sde_mean_std(torch.tensor(x), torch.tensor(velocity), sigma, following, eta) for velocity in (v, other)
    )
    found = gaussian_divergence(mean, reference, std).numpy()
    # KL(N(μ, std²) ‖ N(μ_ref, std²)) by numerical integration of p·(log p − log p_ref), dimension by dimension
    grid = np.linspace(-12, 12, 4001)
    density = np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi)
    apart = (mean - reference).numpy() / std.item()
    log_ratio = ((grid + apart[..., None]) ** 2 - grid**2) / 2
    integrated = np.trapezoid(density * log_ratio, grid, axis=-1).mean((1, 2))
    np.testing.assert_allclose(found, integrated, rtol=1e-8)
    flow_grpo = ((mean - reference).numpy() ** 2).mean((1, 2)) / (2 * s**2)
    np.testing.assert_allclose(found, flow_grpo / length, rtol=1e-12)


@pytest.mark.parametrize("temperature", [0.3, 0.7, 1.0, 1.6, 4.0])
def test_importance_weights_at_every_temperature(temperature: float) -> None:
    rng = np.random.default_rng(2)
    engine, learner = rng.normal(size=9), rng.normal(size=9)
    learner = engine + 0.2 * temperature * (learner - learner.mean())

    def softmax(logits: np.ndarray) -> np.ndarray:
        powers = np.exp(logits / temperature)
        return powers / powers.sum()

    p_engine, p_learner = softmax(engine), softmax(learner)

    def as_the_learner_sees(logits: np.ndarray) -> torch.Tensor:
        rows = torch.tensor(logits).expand(1, 9, 9)
        return token_log_probs(rows, torch.arange(9).unsqueeze(0), temperature)[0]

    reported = torch.tensor(np.log(p_engine))  # what an engine says that samples at this temperature
    assert truncated_importance(as_the_learner_sees(engine), reported, 2.0).numpy() == pytest.approx(1.0, rel=1e-12)
    weights = truncated_importance(as_the_learner_sees(learner), reported, 50.0).numpy()
    np.testing.assert_allclose(weights, p_learner / p_engine, rtol=1e-10)
    objective = rng.normal(size=9)
    assert (p_engine * weights * objective).sum() == pytest.approx((p_learner * objective).sum(), rel=1e-10)
    capped = truncated_importance(as_the_learner_sees(learner), reported, 1.1).numpy()
    np.testing.assert_allclose(capped, np.minimum(p_learner / p_engine, 1.1), rtol=1e-10)
    if temperature != 1:  # what log-probabilities at temperature 1 would make of an engine that agrees
        wrong = np.exp(np.log(p_engine) - engine + np.log(np.exp(engine).sum()))
        assert abs(wrong - 1).max() > 0.05


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_preset_takes_one_optimizer_step_an_update(preset) -> None:
    config: RunConfig = load_config(preset, ["data.source=shape_world", "data.path=null"])
    for learner in (config.learner.actor, config.learner.editor):
        assert learner.epochs * learner.minibatches == 1


@pytest.mark.parametrize("group", ["turn", "trajectory"])
def test_what_a_turn_is_credited_for(group: str) -> None:
    rollout = RolloutConfig(group_size=4, turns=2, reward="hard", group=group)
    turns = GroupSampler(ScriptedModels(threshold=60, spread=60), rollout, EditorConfig()).sample(
        Job("run", "actor", PROMPTS, 11)
    )
    carried_not_best = 0
    for members in groups_of(turns).values():
        held = {}
        for turn in members:
            ends_with = turn.satisfaction_after if group == "turn" or turn.carried_on else turn.satisfaction_before
            held[turn.member] = np.mean(np.array(ends_with) >= 0.5)  # of a trajectory that of its last turn
        rewards = np.array(list(held.values()))
        for turn in members:
            expected = (held[turn.member] - rewards.mean()) / (rewards.std() + 1e-4) if np.ptp(rewards) else 0.0
            assert turn.advantage == pytest.approx(expected, abs=1e-9)
            if group == "turn":
                assert {other.turn for other in members} == {turn.turn}
                carried_not_best += turn.carried_on and held[turn.member] < rewards.max()
    assert carried_not_best or group == "trajectory"


def test_which_networks_saw_which_combinations() -> None:
    rng = np.random.default_rng(4)

    def split(objects) -> str:
        return split_of([(one.colour, one.shape) for one in objects])

    edited = [random_edit(rng, sample_layout)[0].objects for _ in range(60)]
    written = [imperfect_state(rng, "train", (1, 5))[1] for _ in range(60)]
    assert {split(objects) for objects in edited + written} == {"train"}
    assert {len(objects) for objects in edited} == {2, 3, 4}
    assert {split(random_layout(rng, (2, 4))) for _ in range(120)} == {"train", "held_out"}
    assert 'imperfect_state(rng, "train", (1, 5))' in inspect.getsource(vlm.train_actor)
    for module, objects in ((vlm, "(2, 4)"), (weak_checker, "(2, 4)"), (vae, "(1, 4)")):
        assert f"random_layout(rng, {objects})" in inspect.getsource(module)
