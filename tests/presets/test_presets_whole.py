"""The large presets from `rlrig train` to the report, with tiny models of the architectures that they name. Sizes,
counts, devices and stages are overridden; dialogue, bfloat16, LoRA, ZeRO, offload, staleness and reward are the
preset's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.tiny_families.__main__ import build, overrides
from presets.run_file import load_config
from tests.local_cluster import lent_workers
from tests.places import ROOT

pytestmark = pytest.mark.engines
LIMIT_S = 900
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
IN_TURN, ONE_AFTER_THE_OTHER = [(1, 0), (1, 1), (2, 1), (2, 2)], [(1, 0), (2, 0), (2, 1), (2, 2)]
FIRST_OF_EACH = "stages=[{stage: alternate, updates: 2}]"


def rlrig(*arguments: str, sets: list[str]) -> subprocess.CompletedProcess[str]:
    words = [word for override in sets for word in ("--set", override)]
    command = [sys.executable, "-m", "rlrig.cli", *arguments, *words]
    env = {**ENVIRONMENT, **lent_workers()}
    return subprocess.run(command, cwd=ROOT, env=env, timeout=LIMIT_S, capture_output=True, text=True, check=False)


def trained(preset: str, folder: Path, *more: str) -> tuple[Any, list[dict[str, Any]]]:
    """The configuration of a run of the preset, which ends in `folder / "run"`, and what its updates say; `more` are
    overrides besides."""
    build(preset, folder)
    file, sets, out = f"presets/{preset}.yaml", [*overrides(preset, folder), *more], folder / "run"
    plain = load_config(ROOT / file, [f"data.path={folder / 'records.json'}"])
    config = load_config(ROOT / file, sets)
    for policy in ("actor", "editor"):
        mine, its = getattr(config.learner, policy), getattr(plain.learner, policy)
        for key in ("dtype", "zero_stage", "offload", "gradient_checkpointing"):
            assert getattr(mine, key) == getattr(its, key)
    assert (config.rollout.dialogue, config.rollout.reward) == ("general", "soft")
    assert config.rollout.max_staleness == plain.rollout.max_staleness
    done = rlrig("train", file, "--out", str(out), sets=sets)
    assert done.returncode == 0, done.stdout + done.stderr
    updates = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    for one in updates:
        assert one["weights"]["kind"] == "lora"
        assert one["learner"]["logprob_mismatch_mean"] <= 0.012  # of bfloat16
        assert one["learner"]["importance_mean"] == pytest.approx(1, abs=0.05)
        assert one["unparsable"] <= one["turns"] / 2  # the members of an editor group share one answer
        assert ("switch" in one["seconds"]) == (config.editor.offload == "cpu")
    assert (out / "report.html").stat().st_size > 10_000
    assert (out / "models" / "actor" / "lora" / "adapter_model.safetensors").is_file()
    assert (out / "models" / "editor" / "lora").is_dir()
    return config, updates


def versions(updates: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(one["actor_version"], one["editor_version"]) for one in updates]


def on_one_gpu(folder: Path, *more: str) -> list[dict[str, Any]]:
    """What the updates say of a run of the one-GPU preset, whose roles take turns."""
    config, updates = trained("one-gpu", folder, *more)
    assert set(config.vlms) == {"actor"}  # it is the Checker, too
    assert config.diffuser.share
    assert all(one["staleness"]["max"] == 0 for one in updates)
    return updates


def test_one_gpus_roles_take_turns_and_both_policies_train(tmp_path: Path) -> None:
    assert versions(on_one_gpu(tmp_path, FIRST_OF_EACH)) == IN_TURN[:2]


@pytest.mark.long
def test_one_gpus_roles_come_back_and_the_actor_learns_from_the_run_s_answers(tmp_path: Path) -> None:
    assert versions(on_one_gpu(tmp_path)) == IN_TURN
    sets = [*overrides("one-gpu", tmp_path), "learner.actor.learning_rate=1e-3"]
    answers = str(tmp_path / "run" / "trajectories")
    teaching = ("--answers", answers, "--epochs", "3", "--batch", "8", "--out", str(tmp_path / "sft"))
    done = rlrig("sft-actor", "presets/one-gpu.yaml", *teaching, sets=sets)
    assert done.returncode == 0, done.stdout + done.stderr
    taught = json.loads((tmp_path / "sft" / "sft.json").read_text())
    assert taught["answers"] >= 4
    assert taught["losses"] == sorted(taught["losses"], reverse=True)
    assert (Path(taught["model"]) / "config.json").is_file()


@pytest.mark.long
@pytest.mark.parametrize("preset", ["eight-gpus", "qwen-image-edit"])
def test_eight_gpus_roles_take_turns(preset: str, tmp_path: Path) -> None:
    config, updates = trained(preset, tmp_path)
    assert versions(updates) == ONE_AFTER_THE_OTHER
    assert set(config.vlms) == {"actor", "checker"}


@pytest.mark.long
def test_a_cluster_samples_while_the_learner_works(tmp_path: Path) -> None:
    config, updates = trained("cluster", tmp_path)
    assert versions(updates) == ONE_AFTER_THE_OTHER
    assert config.rollout.max_staleness == 1
    assert [one["staleness"]["max"] for one in updates][-1] == 1.0
