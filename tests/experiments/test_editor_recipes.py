from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
from typer import Typer
from typer.testing import CliRunner

from experiments.editor_recipes.__main__ import Recipe, cases, main, told
from learner.nft.policy import NftPolicy
from presets.run_file import load_config
from tests.places import PRESET


def test_a_case_asks_for_what_its_picture_does_not_show():
    for split in ("train", "held_out"):
        for case in islice(cases(split, (2, 3), 3), 5):
            assert case.holds(case.image)[case.asked] == 0.0
            assert 2 <= len(case.requirements) <= 3
            assert case.prompt.startswith("move ")
    again = [case.prompt for case in islice(cases("held_out", (2, 3), 3), 5)]
    assert again == [case.prompt for case in islice(cases("held_out", (2, 3), 3), 5)]


@pytest.mark.parametrize("algorithm", ["flow_grpo", "nft"])
def test_an_update_learns_from_groups_by_the_recipe_of_the_run_file(algorithm):
    torch.set_num_threads(1)
    config = load_config(PRESET, [f"learner.editor.algorithm={algorithm}", "rollout.group_size=4"])
    recipe = Recipe(config)
    assert isinstance(recipe.policy, NftPolicy) == (algorithm == "nft")
    found = (recipe.group(case, 0, seed) for seed, case in enumerate(cases("train", (2, 3), 1)))
    samples = next(group for group in found if group is not None)
    assert len(samples) == 4
    assert sum(sample.advantage for sample in samples) == pytest.approx(0, abs=1e-9)
    before = [parameter.detach().clone() for parameter in recipe.policy.module.parameters()]
    recipe.update(samples, 0)
    moved = [(a - b).abs().max().item() for a, b in zip(before, recipe.policy.module.parameters(), strict=True)]
    assert 0 < max(moved) <= 1.01 * config.learner.editor.learning_rate  # AdamW's first step
    measured = recipe.measure(list(islice(cases("held_out", (2, 3), 1), 2)))
    assert measured.shape == (2, 2)
    assert set(measured[:, 0]) <= {0.0, 1.0}


def test_changes_are_told_with_their_interval():
    assert told([np.full(20, 0.25)]) == "+0.250 [+0.250, +0.250]"
    mean, low, high = (float(part.strip("[],")) for part in told([np.tile([0.0, 1.0], 50)]).split())
    assert mean == 0.5
    assert low < 0.5 < high


def test_the_command_refuses_settings_by_name():
    app = Typer()
    app.command()(main)
    done = CliRunner().invoke(app, ["nft: learner.editor.algorithm=ntf", "--updates", "1", "--tests", "2"])
    assert done.exit_code != 0
    assert "learner.editor.algorithm: 'ntf' is refused" in str(done.exception)
