"""Every arm with the real engines, on a handful of prompts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel
from transformers import Idefics3ForConditionalGeneration

from experiments.archive import Archive
from experiments.cells import arm_cells, sweep_cells
from experiments.evaluation import Evaluation
from experiments.judge import Judge
from experiments.plan import Plan
from experiments.provenance import Provenance
from experiments.served_weights import ServedWeights
from experiments.sweeps import Setting, Sweep
from presets.run_file import load_config
from rollout.local_ray import ray_for_run
from rollout.models import start_models
from rollout.progress import Progress
from tests.places import TINY

pytestmark = [pytest.mark.engines, pytest.mark.long]

MODELS = TINY / "models"
TURNS = Sweep("turns", "edits at evaluation", "both", (Setting("1", turns=1), Setting("2")))
PLAN = Plan(seeds=(0,), prompts=8, harder=4, sweep_prompts=5, sweeps=(TURNS,), weak_checker=None)


def _trained(folder: Path) -> None:
    """A job's folder whose policies differ a little from those of the preset."""
    torch.manual_seed(0)
    for policy, kind, source, target in (
        ("actor", Idefics3ForConditionalGeneration, MODELS / "actor", "actor"),
        ("editor", FluxTransformer2DModel, MODELS / "flux" / "transformer", "editor/transformer"),
    ):
        model = kind.from_pretrained(source)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1e-3 * torch.randn_like(parameter))
        model.save_pretrained(folder / "models" / target)
        assert policy in target
    (folder / "summary.json").write_text(json.dumps({"models": ["models/actor", "models/editor"]}))


def test_all_arms_are_evaluated_on_the_same_prompts(tmp_path: Path) -> None:
    for job in ("stages", "editor"):
        _trained(tmp_path / f"{job}-seed0")
    config = load_config(MODELS.parent / "run.yaml", ["diffuser.workers=1", "editor.workers=1"])
    said: list[str] = []
    with ray_for_run(config.ray):
        models = start_models(config, Progress())
        try:
            weights = ServedWeights(models, {"actor": Path(config.models.actor), "editor": Path(config.models.flux)})
            archive = Archive(tmp_path / "rows")
            provenance = Provenance(MODELS.parent / "run.yaml", MODELS / "judge")
            evaluation = Evaluation(
                PLAN, models, weights, Judge(MODELS / "judge"), tmp_path, archive, provenance, said.append
            )
            cells = [cell for cell in arm_cells(PLAN) if cell.job is None or cell.job.name != "alternating"]
            evaluation.evaluate(cells)
            kept = lambda cell: archive.rows(cell.name, provenance.of_cell(cell))  # noqa: E731
            rows = [row for cell in cells for row in kept(cell)]
            settings = [one.cell for one in sweep_cells(PLAN)]
            evaluation.evaluate(settings)
            sweeps = [kept(cell) for cell in settings]
            count = len(said)
            evaluation.evaluate(cells + settings)
        finally:
            models.close(keep_serve=True)
    arms = {"Diffuser", "RL-RIG raw", "Random edits", "Best-of-N", "Actor trained", "Editor trained", "RL-RIG"}
    assert Counter((row.arm, row.prompts) for row in rows) == {
        (arm, prompts): count for arm in arms for prompts, count in (("two_three", 8), ("four_five", 4))
    }
    of = {arm: [row for row in rows if row.arm == arm and row.prompts == "two_three"] for arm in arms}
    assert len({tuple(row.prompt_id for row in some) for some in of.values()}) == 1
    assert all(row.turns == 0 for row in of["Diffuser"] + of["Best-of-N"])
    assert max(row.turns for row in of["RL-RIG raw"]) > 0
    for before, after in zip(of["Diffuser"], of["RL-RIG raw"], strict=True):
        assert after.turns > 0 or (before.sg_iou, before.judge) == (after.sg_iou, after.judge)
    seconds = {arm: some[0].model_seconds for arm, some in of.items()}
    assert seconds["Diffuser"] < seconds["RL-RIG raw"]
    assert seconds["Best-of-N"] >= 0.5 * seconds["RL-RIG raw"]  # N is chosen on what the loop cost
    assert weights.versions["actor"] >= 2  # trained, back to the start, trained again
    assert [len(found) for found in sweeps] == [5, 5]
    assert len(said) == count == len(cells) + len(settings)  # nothing is done twice
