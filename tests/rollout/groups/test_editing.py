"""How edits are sampled, by the position of their prompt alone."""

from types import SimpleNamespace

import numpy as np

from actors.edit import Edit
from actors.flow_path import FlowOde
from presets.images import EditorConfig
from rollout.groups.editing import Editing
from tests.rollout.scripted_models import picture

MOVING = EditorConfig(steps=4, sde_window=(0, 1), sde_window_every=2)


def edited(editor: EditorConfig, positions: list[int], stage: str = "editor", algorithm: str = "flow_grpo"):
    """The edits of prompts at these positions, and how each call sampled which of them."""
    calls = []

    def edit(images, prompts, seeds, sde=None, steps=None):
        calls.append((sde, prompts, steps))
        return [Edit(picture(seed)) for seed in seeds]

    states = [SimpleNamespace(prompt=position, image=np.zeros((64, 64, 3), np.uint8)) for position in positions]
    models = SimpleNamespace(editor=SimpleNamespace(edit=edit))
    prompts, seeds = [str(position) for position in positions], [position % 200 for position in positions]
    return Editing(editor, algorithm, 10).edits(models, stage, states, prompts, seeds), calls


def test_edits_of_one_window_are_made_together_and_come_back_in_their_order():
    positions = [3, 25, 19, 21, 45, 60]
    edits, calls = edited(MOVING, positions)
    assert [edit.image[0, 0, 0] for edit in edits] == positions
    found = {sde.window: prompts for sde, prompts, _ in calls}
    assert found == {(0, 1): ["3", "19", "60"], (1, 2): ["25", "21"], (2, 3): ["45"]}
    assert {steps for *_, steps in calls} == {4}


def test_a_window_that_stays_the_actors_stage_and_the_ode_are_one_call():
    for stage, algorithm in (("editor", "flow_grpo"), ("actor", "flow_grpo"), ("editor", "nft")):
        editor = MOVING.model_copy(update={"sde_window_every": None})
        _, ((sde, prompts, _),) = edited(editor, [3, 99], stage, algorithm)
        assert prompts == ["3", "99"]
        assert (sde is None) == (stage == "actor")
        assert isinstance(sde, FlowOde) == (algorithm == "nft")
    assert edited(MOVING, []) == ([], [])
