"""The pages about code of the user's own, with the real engines: a run in which every part is the user's."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rollout.trajectory import Turn, read_parquet
from scenes.extractors import extract, satisfied
from scenes.laion_sg import read_record
from tests.docs.pages import environment_with_rlrig
from tests.docs.test_extending import SCENES, write_files
from tests.places import TINY

pytestmark = pytest.mark.engines

MODELS = TINY / "models"
OWN = {
    "data.source": "own_scenes:from_csv",
    "data.path": "scenes.csv",
    "rollout.reward": "own_reward:careful",
    "rewards": "[{scorer: checker}, {scorer: own_scorer:steady, weight: 0}, "
    "{scorer: own_gpu_scorer:Colourful, weight: 0, fleet: {cpus: 0.1}}]",
    "rollout.checker": "own_checker:from_pixels",
    "diffuser.family": "own_diffuser:Painter",
    "editor.family": "own_editor:PlainFlux",
}
SMALL = {
    "stages": "[{stage: actor, updates: 1}, {stage: editor, updates: 1}]",
    "rollout.prompts_per_update": "3",
    "rollout.group_size": "6",
    "evaluation.prompts": "0",
    "diffuser.workers": "1",
    "editor.workers": "1",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with the files of the pages and with the deeper Actor."""
    folder = tmp_path_factory.mktemp("own")
    write_files(folder)
    environment = environment_with_rlrig(folder / "bin")
    command = ["python", "own_vlm.py", str(MODELS / "actor"), "models/deep-actor"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.endswith("'tokens': {'yes': 1, 'no': 1}}\n")
    return folder


@pytest.fixture
def imported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    for name in [name for name in sys.modules if name.startswith("own_")]:
        monkeypatch.delitem(sys.modules, name)


def test_the_deeper_actor_answers_as_the_small_one_and_can_learn_more(folder: Path) -> None:
    import torch
    from PIL import Image

    from learner.pretraining.vlm_model import load

    logits = []
    for path in (MODELS / "actor", folder / "models" / "deep-actor"):
        model, processor = load(path)
        inputs = processor(
            text="<user><image>is it ?", images=[Image.new("RGB", (64, 64), (9, 80, 7))], return_tensors="pt"
        )
        with torch.no_grad():
            logits.append(model.eval()(**inputs).logits)
    assert model.config.text_config.num_hidden_layers == model.config.vision_config.num_hidden_layers == 6
    torch.testing.assert_close(logits[0], logits[1], atol=1e-5, rtol=1e-5)


def test_the_editor_of_the_page_understands_other_words(imported: None) -> None:
    from actors.flow_path import FlowSde
    from actors.flux_model import FluxModel
    from actors.model_families import load_editor
    from learner.config import LearnerConfig
    from learner.flow_policy import FlowPolicy
    from learner.samples import EditorSample

    known, said = "move red circle left of blue square", "Move the red circle to the left of the blue square"
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    own = load_editor(MODELS / "flux", family="own_editor:PlainFlux")
    usual = FluxModel(MODELS / "flux")
    expected = usual.edit([image], [known], [4], steps=2)[0].image.astype(int)
    assert np.abs(own.edit([image], [said], [4], steps=2)[0].image - expected).max() <= 1
    assert np.abs(usual.edit([image], [said], [4], steps=2)[0].image - expected).max() > 20
    (edit,) = own.edit([image], [said], [4], FlowSde(eta=0.7, steps=3))
    policy = FlowPolicy(MODELS / "flux", LearnerConfig(clip_low=1e-3, clip_high=1e-3), family="own_editor:PlainFlux")
    for batch in policy.batches([EditorSample(image, said, edit.path, 1.0)]):
        log_probs = policy.evaluate(policy.module, batch).log_probs.detach().numpy()
        np.testing.assert_allclose(log_probs, batch.rollout_log_probs.numpy(), atol=1e-4)


@pytest.mark.long
def test_a_run_in_which_every_part_is_the_users(folder: Path, imported: None) -> None:
    settings = {**OWN, **SMALL, "models.actor": str(folder / "models" / "deep-actor")}
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    done = subprocess.run(
        ["rlrig", "train", *words, "--out", "runs/own", "--json"],
        cwd=folder,
        env=environment_with_rlrig(folder / "bin-of-the-run"),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    run = folder / "runs" / "own"
    turns = read_parquet(run / "trajectories")
    assert {turn.stage for turn in turns} == {"actor", "editor"}
    for turn in turns:
        check_turn(turn)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in lines] == ["actor", "editor"]
    assert all(line["logprob_mismatch"] < 1e-3 for line in lines)
    for line in lines:
        assert line["reward_missing"] == {"checker": 0, "steady": 0, "Colourful": 0}
        assert 0 < line["reward_values"]["Colourful"] <= 1
    config = json.loads((run / "models" / "actor" / "config.json").read_text())
    assert config["text_config"]["num_hidden_layers"] == 6


def check_turn(turn: Turn) -> None:
    """That each part did its work: scene, first image, satisfaction and reward are what the pages' code gives."""
    number = int(turn.prompt_id.removeprefix("scene-"))
    assert 0 <= number < SCENES
    graph = read_record(turn.scene_graph, turn.prompt_id)
    if turn.turn == 0:
        painter = importlib.import_module("own_diffuser").Painter("", image_size=64)
        assert np.array_equal(turn.start, painter.draw([graph.prompt], [turn.draw_seed])[0])
    careful = importlib.import_module("own_reward").careful
    assert turn.reward_before == pytest.approx(careful(turn.satisfaction_before, turn.start, graph))
    if turn.image_after is not None:
        assert turn.reward == pytest.approx(careful(turn.satisfaction_after, turn.image_after.pixels, graph))
        checker, steady, colourful = turn.reward_parts
        assert (checker.part, steady.part, colourful.part) == (turn.reward, 0.0, 0.0)
        border = np.ones(turn.start.shape[:2], bool)
        border[4:-4, 4:-4] = False
        assert steady.value == pytest.approx((turn.start == turn.image_after.pixels).all(axis=2)[border].mean())
        found = extract(turn.image_after.pixels)
        if not found.malformed:
            assert turn.satisfaction_after == [float(satisfied(r, found)) for r in graph.requirements]
