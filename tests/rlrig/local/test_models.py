"""The four models in one process: loaded once where they can be, and with what a run has trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from presets.choice.trained_models import trained_models
from presets.run_file import load_config
from rollout.progress import Progress
from scenes.scene_graph import parse_prompt
from scenes.shape_world import PREDICATES
from tests.places import TINY

pytestmark = pytest.mark.engines

PROMPT = "red circle left of blue square; green star above red circle"
GRAPH = parse_prompt(PROMPT, PREDICATES)
REQUEST = "goal : red circle left of blue square . unmet : red circle left of blue square . fix ?"


def test_models_in_one_folder_are_loaded_once() -> None:
    from rlrig.local.models import load_models

    checker = f"models.checker={TINY / 'models' / 'actor'}"
    progress = Progress()
    models = load_models(load_config(TINY / "run.yaml", [checker]), progress)
    assert progress.notes[-1] == "loading, 3 of 3: Actor"
    assert models.actor._vlm._model is models.checker._vlm._model
    assert (models.actor._vlm.role, models.checker._vlm.role) == ("actor", "checker")
    shared = [
        "diffuser.share=true",
        "diffuser.workers=1",
        "learner.editor.lora={rank: 2, alpha: 2, target_modules: [to_q]}",
    ]
    models = load_models(load_config(TINY / "run.yaml", shared), progress)
    assert progress.notes[-1] == "loading, 3 of 3: Checker"
    assert models.diffuser is models.editor


def test_trained_adapters_lie_beside_the_presets_models(tmp_path: Path) -> None:
    from actors.inverse_diffuser import InverseDiffuser
    from learner.config import LearnerConfig
    from learner.flow_policy import FlowPolicy
    from learner.vlm_policy import VlmPolicy
    from rlrig.local.models import load_models
    from tests.actors.test_adapted_editor import changed
    from weights.lora_config import LoraConfig

    config = load_config(TINY / "run.yaml")
    text = LoraConfig(rank=2, alpha=3.0, target_modules=("q_proj", "down_proj"))
    flow = LoraConfig(rank=4, alpha=6.0, target_modules=("to_q", "proj_mlp"))
    torch.set_num_threads(1)
    actor = changed(VlmPolicy(config.models.actor, LearnerConfig(lora=text)), 1)
    actor.export(tmp_path / "run" / "models" / "actor")
    changed(FlowPolicy(config.models.flux, LearnerConfig(lora=flow)), 1).export(tmp_path / "run" / "models" / "editor")

    trained = trained_models(config, tmp_path / "run")
    assert sorted(trained.models.adapters) == ["actor", "editor"]
    raw, models = load_models(config, Progress()), load_models(trained, Progress())
    (image,), (drawn) = raw.diffuser.draw([PROMPT], [3]), models.diffuser.draw([PROMPT], [3])
    assert np.array_equal(image, drawn[0])
    assert models.checker.satisfaction([image], [GRAPH.requirements]) == raw.checker.satisfaction(
        [image], [GRAPH.requirements]
    )
    ((before,),), ((after,),) = (each.actor.reflect([image], [REQUEST]) for each in (raw, models))
    assert (before.version, after.version) == (0, 1)
    assert before.log_probs != after.log_probs
    added = load_models(load_config(TINY / "run.yaml", [f"models.actor={tmp_path}/run/models/actor"]), Progress())
    ((whole,),) = added.actor.reflect([image], [REQUEST])  # the adapter is added to these weights
    assert whole.token_ids == after.token_ids
    np.testing.assert_allclose(np.exp(whole.log_probs), np.exp(after.log_probs), atol=1e-4)

    (edit,) = models.editor.edit([image], ["move red circle left of blue square"], [1])
    whole_editor = InverseDiffuser(tmp_path / "run" / "models" / "editor", steps=config.editor.steps)
    (expected,) = whole_editor.edit([image], ["move red circle left of blue square"], [1])
    assert edit.version == 1
    assert np.abs(edit.image.astype(int) - expected.image).max() <= 1
    (untrained,) = raw.editor.edit([image], ["move red circle left of blue square"], [1])
    assert np.abs(edit.image.astype(int) - untrained.image).max() > 10
