"""Options of what an update learns from: which go together, and what they mean for sampling and requests."""

from __future__ import annotations

from pathlib import Path

from presets.checks import changed_on_resume
from presets.run_file import load_config
from scenes.scene_graph import Requirement
from tests.presets.test_run_config import refused


def test_a_window_moves_by_updates_through_all_its_places_and_begins_again(run_file: Path) -> None:
    editor = load_config(run_file, ["editor.sde_window=[1, 3]", "editor.sde_window_every=2", "editor.steps=6"]).editor
    windows = [editor.sampling("flow_grpo", update).stochastic_steps for update in range(14)]
    once = [(1, 3), (2, 4), (3, 5)]
    assert windows == [once[update // 2 % 3] for update in range(14)]
    assert editor.sampling("flow_grpo").window == (1, 3)
    assert load_config(run_file, ["editor.sde_window=[1, 3]"]).editor.sampling("flow_grpo", 9).window == (1, 3)
    message = refused(run_file, "editor.sde_window_every=2", "editor.sde_window=null")
    assert "editor.sde_window_every: 2 is refused without editor.sde_window" in message


def test_edits_of_the_ode_need_noise_of_their_own(run_file: Path) -> None:
    message = refused(run_file, "editor.shared_noise=true", "learner.editor.algorithm=nft")
    assert "editor.shared_noise: True is refused with learner.editor.algorithm nft" in message
    assert load_config(run_file, ["editor.shared_noise=true"]).editor.sampling("flow_grpo").shared_noise


def test_a_run_may_leave_the_list_of_unmet_requirements_out(run_file: Path) -> None:
    config = load_config(run_file, ["rollout.tell_unmet=false"])
    wanted = (Requirement("red circle", "left of", "blue square"),)
    assert config.dialogue.request(wanted, wanted) == "goal : red circle left of blue square . fix ?"
    message = refused(run_file, "rollout.tell_unmet=false", "rollout.dialogue=own:Words")
    assert "rollout.tell_unmet: False is refused with rollout.dialogue 'own:Words'" in message
    assert any("rollout.tell_unmet" in line for line in changed_on_resume(load_config(run_file), config))
