"""The large presets from `rlrig train` to the report, with tiny models of the architectures that they name. Sizes,
counts and devices are overridden; dialogue, bfloat16, LoRA, ZeRO, staleness and reward are the preset's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.tiny_families.__main__ import build, overrides
from presets.run_file import load_config
from tests.places import ROOT

pytestmark = pytest.mark.engines
LIMIT_S = 900
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def rlrig(*arguments: str, sets: list[str]) -> subprocess.CompletedProcess[str]:
    words = [word for override in sets for word in ("--set", override)]
    command = [sys.executable, "-m", "rlrig.cli", *arguments, *words]
    return subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT, timeout=LIMIT_S, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("preset", ["flux-kontext-qwen", pytest.param("qwen-image-edit", marks=pytest.mark.long)])
def test_a_large_preset_trains_both_policies_and_reports(preset: str, tmp_path: Path) -> None:
    build(preset, tmp_path)
    file, sets, out = f"presets/{preset}.yaml", overrides(preset, tmp_path), tmp_path / "run"
    plain = load_config(ROOT / file, [f"data.path={tmp_path / 'records.json'}"])
    config = load_config(ROOT / file, sets)
    for policy in ("actor", "editor"):
        mine, its = getattr(config.learner, policy), getattr(plain.learner, policy)
        assert (mine.dtype, mine.zero_stage, mine.lora.alpha) == (its.dtype, its.zero_stage, its.lora.alpha)
    assert (config.rollout.dialogue, config.rollout.max_staleness, config.rollout.reward) == ("general", 1, "soft")
    assert set(config.vlms) == {"actor"}  # it is the Checker, too

    done = rlrig("train", file, "--out", str(out), sets=sets)
    assert done.returncode == 0, done.stdout + done.stderr
    updates = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [(one["actor_version"], one["editor_version"]) for one in updates] == [(1, 0), (2, 0), (2, 1), (2, 2)]
    assert [one["staleness"]["max"] for one in updates][-1] == 1.0  # what was sampled while the learner worked
    for one in updates:
        assert one["weights"]["kind"] == "lora"
        assert one["learner"]["logprob_mismatch_mean"] <= 0.012  # of bfloat16
        assert one["learner"]["importance_mean"] == pytest.approx(1, abs=0.05)
        assert one["unparsable"] <= one["turns"] / 2  # the members of an editor group share one answer
    assert (out / "report.html").stat().st_size > 10_000
    assert (out / "models" / "actor" / "lora" / "adapter_model.safetensors").is_file()

    sets = [*sets, "learner.actor.learning_rate=1e-3"]
    teaching = ("--answers", str(out / "trajectories"), "--epochs", "3", "--batch", "8", "--out", str(tmp_path / "sft"))
    done = rlrig("sft-actor", file, *teaching, sets=sets)
    assert done.returncode == 0, done.stdout + done.stderr
    taught = json.loads((tmp_path / "sft" / "sft.json").read_text())
    assert taught["answers"] >= 4
    assert taught["losses"] == sorted(taught["losses"], reverse=True)
    assert (Path(taught["model"]) / "config.json").is_file()
