"""One update of each side, on Ray and in a process of its own."""

import json

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.peers.__main__ import main

pytestmark = [pytest.mark.engines, pytest.mark.long]


@pytest.mark.parametrize("policy", ["actor", "editor"])
def test_both_sides_make_updates_and_every_phase_takes_time(policy, tmp_path):
    app = typer.Typer()
    app.command()(main)
    out = tmp_path / "peers.json"
    small = ["--set", "rollout.prompts_per_update=2", "--set", f"learner.{policy}.micro_batch=4"]
    result = CliRunner().invoke(
        app, ["--policy", policy, "--updates", "1", "--out", str(out), "--cache", str(tmp_path), *small]
    )
    if "pip cannot install" in result.stderr:
        pytest.skip("no registry here has TRL")
    assert result.exit_code == 0, result.output
    updates, drawings = json.loads(out.read_text())["seconds"].values()
    for phase in ("generation", "edit", "check", "update"):
        assert min(updates[phase]) > 0
    assert min(drawings["draw"]) > 0
