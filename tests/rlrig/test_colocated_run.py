"""A run whose editor trains in the processes that sample: nothing is sent, and the proof is the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT

pytestmark = [pytest.mark.engines, pytest.mark.long]  # tests/learner/colocated has the processes alone

SETTINGS = [
    "stages=[{stage: editor, updates: 2}]",
    "editor.colocated=true",
    "diffuser.share=true",
    "diffuser.workers=1",
    "learner.editor.lora={rank: 4, alpha: 8.0, target_modules: [to_q, to_v]}",
    "rollout.prompts_per_update=2",
    "rollout.group_size=4",
    "rollout.turns=1",
    "evaluation.prompts=0",
    "checkpoint.every=1",
]


def train(out: Path, settings: list[str], *more: str) -> list[dict]:
    """The updates that the run's folder then has."""
    overrides = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "rlrig.cli", "train", *more, "--out", str(out), *overrides]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_a_run_trains_where_it_samples_and_goes_on_from_its_checkpoint(tmp_path):
    lines = train(tmp_path / "run", SETTINGS, "presets/tiny/run.yaml")
    more = train(tmp_path / "run", ["stages.0.updates=3"], "--resume")
    assert more[:2] == lines
    before = None
    for number, line in enumerate(more, 1):
        weights = line["weights"]
        assert (weights["version"], weights["kind"]) == (number, "lora")
        assert set(weights["replicas"]) == {"EditorRank-0", "EditorRank-1"}
        for replica in weights["replicas"].values():
            assert replica["transport"] == "shared"
            assert replica["digest"] == weights["digest"] == line["learner"]["digest"] != replica["previous"]
            assert before in (None, replica["previous"])
        before = weights["digest"]
        assert line["learner"]["logprob_mismatch_max"] < 1e-5
        assert line["staleness"]["max"] == 0
    assert (tmp_path / "run" / "models" / "editor" / "lora").is_dir()
