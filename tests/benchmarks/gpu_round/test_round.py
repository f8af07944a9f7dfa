"""The round of the one-GPU preset as a whole, with tiny models on the CPU: on the day of a GPU only sizes are new."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
EDITS = 6


def gpu_round(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu_round", *arguments]
    return subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, timeout=600, capture_output=True, text=True, check=False)


@pytest.mark.engines
def test_a_round_on_the_cpu(tmp_path: Path) -> None:
    out = tmp_path / "round.json"
    done = gpu_round("--size", "tiny", "--device", "cpu", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert found["failed"] == found["skipped"] == []
    assert found["settings"]["stochastic_steps"] == [0, 3]
    assert found["readable"] >= 1
    seconds, images = found["seconds"], found["images_per_second"]
    assert images["draw"] == pytest.approx(2 / seconds["draw"])
    assert images["edit"] == pytest.approx(EDITS / seconds["edit"])
    both = EDITS / images["rollout"] + EDITS / images["update"]
    assert images["rollout and update"] == pytest.approx(EDITS / both)

    updates = found["updates"]
    assert set(updates) == set(found["sync"]) == {"actor", "editor"}
    for policy, update in updates.items():
        assert update["samples"] == EDITS
        assert update["tflop"] > 0
        assert 0 < update["mismatch"] <= 0.012  # of bfloat16
        assert (update["mfu"], update["hfu"]) == (None, None)
        assert update["seconds"] <= seconds[f"update of the {policy}"]
    # Those who sample leave and come back for the start of each learner, and for its update.
    moves = {f"{role} {move}": 4 for role in ("editor", "actor") for move in ("leaves", "is back")}
    moves |= {f"learner of the {policy} {move}": 1 for policy in updates for move in ("leaves", "is back")}
    assert {name: len(each) for name, each in found["switches"].items()} == moves
    assert {one["what"]: one["held"] for one in found["roles"]} == dict.fromkeys(
        ("editor", "actor", "learner.actor", "learner.editor")
    )
    assert all(one["planned"] > 0 for one in (*found["roles"], *found["phases"]))
    assert [one["what"] for one in found["phases"]] == [
        "card: rollout", "card: update of the actor", "card: update of the editor",
    ]  # fmt: skip
    assert {row["met"] for row in found["reach"]} == {None}
    assert "CPU, size tiny: the round" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--size", "real", "--device", "cpu"), "real sizes need a GPU; give tiny or small"),
        (("--size", "tiny", "--device", "cpu", "--out", "nowhere/round.json"), "nowhere; make it first"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import typer

    from benchmarks.gpu_round.__main__ import main

    app = typer.Typer()
    app.command()(main)
    with pytest.raises(SystemExit) as ended:
        app(list(arguments))
    assert ended.value.code == 2
    told = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert message in told
