"""The trained models beside the small ones: what they were made with, and that they are what was written down."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from learner.pretraining.shipped import described, digest, ship_trained
from tests.places import ROOT, TINY

TRAINED = TINY / "trained"
MOST_BYTES = 40 * 10**6
EDITOR, ACTOR = Path("editor/transformer/diffusion_pytorch_model.safetensors"), Path("actor/model.safetensors")


def test_they_are_the_files_that_were_written_down_with_their_commands() -> None:
    made = json.loads((TRAINED / "made.json").read_text())
    assert made["commands"][0].startswith("rlrig train presets/tiny/run.yaml --out ")
    assert made["commands"][1].startswith("rlrig pretrain ship ")
    files = {str(file.relative_to(TRAINED)): digest(file) for file in described(TRAINED)}
    assert files == made["sha256"]
    assert made["versions"] == {"actor": 32, "editor": 16}
    assert made["held_out"]["after"]["sg_iou"] > made["held_out"]["before"]["sg_iou"]


@pytest.mark.parametrize(("trained", "raw"), [(ACTOR, ACTOR), (EDITOR, Path("flux", *EDITOR.parts[1:]))])
def test_they_have_the_tensors_of_those_that_they_started_from_a_little_changed(trained: Path, raw: Path) -> None:
    ours, theirs = load_file(TRAINED / "models" / trained), load_file(TINY / "models" / raw)
    assert ours.keys() == theirs.keys()
    assert {tensor.dtype for tensor in ours.values()} == {torch.float16}
    apart = [float((ours[name].float() - theirs[name]).norm() / theirs[name].norm().clamp(min=1e-9)) for name in ours]
    assert 0.001 < sorted(apart)[len(apart) // 2] < 0.5


def test_what_was_not_trained_is_there_once() -> None:
    for part in ("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler"):
        assert (TRAINED / "models" / "editor" / part).resolve() == TINY / "models" / "flux" / part


def test_all_weights_of_the_repository_stay_small() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    files = [
        ROOT / name for name in listed.stdout.split("\0") if name.endswith((".safetensors", ".bin", ".pt", ".npz"))
    ]
    assert len(files) >= 10
    assert sum(file.stat().st_size for file in files) <= MOST_BYTES


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of models that have one tensor each, and the models that it started from."""
    for folder, value in ((tmp_path / "run" / "models", 1.25), (tmp_path / "tiny" / "models", 1.0)):
        for place in (ACTOR, EDITOR if value > 1 else Path("flux", *EDITOR.parts[1:])):
            (folder / place).parent.mkdir(parents=True)
            save_file({"weight": torch.full((2,), value)}, folder / place, {"format": "pt"})
            (folder / place).with_name("config.json").write_text("{}")
        pipeline = folder / ("editor" if value > 1 else "flux")
        (pipeline / "vae").mkdir()
        save_file({"weight": torch.zeros(3)}, pipeline / "vae" / "model.safetensors")
    for policy in ("actor", "editor"):
        (tmp_path / "run" / "models" / policy / "README.md").write_text(policy)
    (tmp_path / "run" / "summary.json").write_text(
        '{"prompts": 4, "before": {"sg_iou": 0.1}, "after": {"sg_iou": 0.2}}'
    )
    (tmp_path / "run" / "metrics.jsonl").write_text('{"actor_version": 3, "editor_version": 2}\n')
    return tmp_path / "run"


def test_a_run_is_made_small_and_described(run: Path) -> None:
    base, out = run.parent / "tiny" / "models", run.parent / "tiny" / "trained"
    ship_trained(run, base, out, ["first", "second"])
    kept = load_file(out / "models" / ACTOR)["weight"]
    assert (kept.dtype, kept.tolist()) == (torch.float16, [1.25, 1.25])
    assert (out / "models" / "editor" / "vae").resolve() == base / "flux" / "vae"
    assert (out / "models" / "actor" / "README.md").read_text() == "actor"
    made = json.loads((out / "made.json").read_text())
    assert (made["commands"], made["versions"]) == (["first", "second"], {"actor": 3, "editor": 2})
    assert made["sha256"][f"models/{ACTOR}"] == digest(out / "models" / ACTOR)


def test_what_cannot_be_shipped_is_refused(run: Path) -> None:
    base, out = run.parent / "tiny" / "models", run.parent / "tiny" / "trained"
    large = run / "models" / ACTOR
    save_file({"weight": torch.full((2,), 1e6)}, large)
    with pytest.raises(ValueError, match="weight does not fit into half precision"):
        ship_trained(run, base, out, [])
    save_file({"weight": torch.ones(3)}, run / "models" / "editor" / "vae" / "model.safetensors")
    with pytest.raises(ValueError, match="started from another model"):
        ship_trained(run, base, out, [])
    (run / "models" / "actor" / "lora").mkdir()
    with pytest.raises(ValueError, match="holds no actor that was trained with all its weights"):
        ship_trained(run, base, out, [])
    (run / "summary.json").unlink()
    with pytest.raises(ValueError, match="has not ended"):
        ship_trained(run, base, out, [])
