"""What a `Trainer` and `evaluate` hand on; nothing is trained or measured."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import rlrig
from presets.run_file import dump_config
from rollout.prompts import load_prompts
from tests.places import TINY

PROMPTS = ["red circle left of blue square", "green star above red circle; red circle left of blue square"]


@pytest.fixture
def handed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, tuple[Any, ...]]:
    """What the training and the evaluation were called with."""
    calls: dict[str, tuple[Any, ...]] = {}
    for name, function in (("training", "train"), ("evaluation", "evaluate")):
        stand_in = ModuleType(f"rlrig.{name}")

        def called(*arguments: Any, function: str = function) -> dict[str, Any]:
            calls[function] = arguments
            return {"loop": {"sg_iou": 0.4}}

        setattr(stand_in, function, called)
        monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    monkeypatch.chdir(tmp_path)
    return calls


def test_a_trainer_takes_scorers_by_name_or_with_settings() -> None:
    config = rlrig.Trainer(rewards=["checker", {"scorer": "preservation", "weight": 0.3}], quiet=True).config
    assert [(one.scorer, one.weight) for one in config.rewards] == [("checker", 1.0), ("preservation", 0.3)]


def test_a_trainer_hands_on_overrides_and_reward(handed_on: dict[str, Any]) -> None:
    trainer = rlrig.Trainer(overrides=["rollout.group_size=6"], reward="own_reward:least", out="runs/x", quiet=True)
    assert not Path("runs/x").exists()
    assert trainer.train() == {"loop": {"sg_iou": 0.4}}
    config, folder, resume, _ = handed_on["train"]
    assert config is trainer.config
    assert (config.rollout.group_size, config.rollout.reward) == (6, "own_reward:least")
    assert (folder, resume) == (Path("runs/x"), False)
    assert config.data.source == "shape_world"
    assert rlrig.Trainer().folder.match("runs/tiny-*")


def test_prompts_are_trained_on_and_the_held_out_ones_stay(handed_on: dict[str, Any]) -> None:
    plain = rlrig.Trainer(quiet=True).config
    held_out = load_prompts(plain.data, plain.seed).held_out
    own = [*PROMPTS, held_out[1].prompt, PROMPTS[0]]
    rlrig.Trainer(prompts=own, out="runs/x", quiet=True).train()
    config = handed_on["train"][0]
    prompts = load_prompts(config.data, config.seed)
    assert [graph.prompt for graph in prompts.train] == own[:3]
    expected = [graph.prompt for graph in held_out if graph.prompt != held_out[1].prompt]
    assert [graph.prompt for graph in prompts.held_out] == expected
    assert prompts.notes == ()
    assert config.vocabulary == plain.vocabulary


def test_a_run_goes_on_with_its_own_prompts(handed_on: dict[str, Any]) -> None:
    first = rlrig.Trainer(prompts=PROMPTS, out="runs/x", quiet=True)
    first.train()
    Path("runs/x/config.yaml").write_text(dump_config(first.config))
    rlrig.Trainer(out="runs/x", resume=True, quiet=True).train()
    config, _, resume, _ = handed_on["train"]
    assert (config, resume) == (first.config, True)
    with pytest.raises(rlrig.BadInput, match="seed: 4 is refused with --resume"):
        rlrig.Trainer(overrides=["seed=4"], out="runs/x", resume=True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"overrides": ["rollout.group_size=1"]}, r"rollout\.group_size"),
        ({"preset": "runs/none.yaml"}, "no such run file"),
        ({"reward": "best"}, r"rollout\.reward"),
        ({"rewards": ["best"]}, r"rewards"),
        ({"prompts": ["red circle"]}, "prompt: "),
        ({"resume": True}, "resume: needs out"),
        ({"resume": True, "out": "x", "prompts": PROMPTS}, "goes on with that run's prompts"),
        ({"out": "full"}, "full: exists and is not empty"),
    ],
)
def test_a_trainer_refuses_when_it_is_made(handed_on: dict[str, Any], given: dict[str, Any], said: str) -> None:
    Path("full").mkdir()
    Path("full", "file").touch()
    with pytest.raises(rlrig.BadInput, match=said):
        rlrig.Trainer(**given)


def test_a_program_with_a_ray_of_its_own_is_told(handed_on: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: True))
    with pytest.raises(rlrig.BadInput, match=r"call ray\.shutdown\(\) first"):
        rlrig.Trainer(out="runs/x").train()
    assert handed_on == {}
    rlrig.evaluate(quiet=True)  # needs none


def test_evaluate_takes_models_as_load_does_and_says_where_they_are(handed_on: dict[str, Any]) -> None:
    assert rlrig.evaluate(overrides=["evaluation.prompts=5"], quiet=True) == {"loop": {"sg_iou": 0.4}}
    config, run, _, file, measures, on_ray = handed_on["evaluate"]
    assert Path(config.models.actor) == TINY / "trained" / "models" / "actor"
    assert (config.evaluation.prompts, run, measures, on_ray) == (5, None, None, False)
    assert file.match("runs/eval-*.json")
    rlrig.evaluate(TINY / "run.yaml", ["vlm.actor.gpus=1"], models="raw", out="x.json", quiet=True)
    config, run, _, file, _, on_ray = handed_on["evaluate"]
    assert Path(config.models.actor) == TINY / "models" / "actor"
    assert (run, file, on_ray) == (None, Path("x.json"), True)


def test_an_evaluation_that_measured_nothing_is_a_failure(
    handed_on: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = {"extraction": {"n_scored": 0, "n_failed": 4, "reasons": {"400: bad image": 4}}}
    monkeypatch.setattr(sys.modules["rlrig.evaluation"], "evaluate", lambda *_: failed)
    with pytest.raises(rlrig.RunFailed, match="none of 4 images could be scored; most often: 400: bad image"):
        rlrig.evaluate(quiet=True)
