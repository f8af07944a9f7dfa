from __future__ import annotations

import shutil
from pathlib import Path

from experiments.cells import arm_cells, sweep_cells
from experiments.plan import FULL, Plan
from experiments.provenance import Provenance, settings_digest
from presets.run_file import load_config
from tests.places import TINY

JUDGE = TINY / "models" / "judge"
PROVENANCE = Provenance(TINY / "run.yaml", JUDGE)


def _digest(*overrides: str) -> str:
    return settings_digest(load_config(TINY / "run.yaml", list(overrides)))


def test_what_changes_no_weight_changes_no_digest() -> None:
    same = (
        "ray.num_cpus=9",
        "checkpoint.every=2",
        "evaluation.prompts=0",
        "diffuser.workers=1",
        "needs.cores=1",
        "vlm.checker.image_cache_gib=0.5",
    )
    assert {_digest(one) for one in same} == {_digest()}


def test_what_may_change_a_weight_changes_the_digest() -> None:
    other = (
        "seed=1",
        "learner.editor.learning_rate=1e-6",
        "rollout.group_size=4",
        "editor.eta=0.3",
        "data.relations=[2, 4]",
    )
    assert len({_digest(), *(_digest(one) for one in other)}) == len(other) + 1


def test_the_same_models_elsewhere_are_the_same_and_other_weights_are_not(tmp_path: Path) -> None:
    copy = tmp_path / "actor"
    shutil.copytree(TINY / "models" / "actor", copy)
    assert _digest(f"models.actor={copy}") == _digest()
    other = tmp_path / "other"
    shutil.copytree(copy, other)
    weights = next(other.rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert _digest(f"models.actor={other}") != _digest()


def test_each_cell_has_a_source_of_its_own() -> None:
    cells = arm_cells(FULL) + [one.cell for one in sweep_cells(FULL) if one.setting.overrides or one.setting.turns]
    sources = [PROVENANCE.of_cell(cell) for cell in cells]
    assert len(set(sources)) == len(sources)


def test_more_prompts_make_other_rows() -> None:
    more = arm_cells(Plan(prompts=600))[0]
    assert more.name == arm_cells(FULL)[0].name
    assert PROVENANCE.of_cell(more) != PROVENANCE.of_cell(arm_cells(FULL)[0])


def test_settings_of_training_do_not_touch_what_is_not_trained(tmp_path: Path) -> None:
    text = (TINY / "run.yaml").read_text(encoding="utf-8").replace("models/", f"{TINY}/models/")
    changed = text.replace("actor: {learning_rate: 8.0e-5", "actor: {learning_rate: 7.0e-5").replace(
        "eta: 0.7", "eta: 0.6"
    )
    (tmp_path / "run.yaml").write_text(changed.replace("group_size: 8", "group_size: 6"))
    other = Provenance(tmp_path / "run.yaml", JUDGE)
    cells = {cell.arm.name: cell for cell in arm_cells(FULL)}
    assert other.of_cell(cells["RL-RIG raw"]) == PROVENANCE.of_cell(cells["RL-RIG raw"])
    assert other.of_cell(cells["RL-RIG"]) != PROVENANCE.of_cell(cells["RL-RIG"])
