"""`rlrig fetch` from a hub on this machine, over HTTP."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rlrig.fetch import hub_models
from tests.places import ROOT
from tests.rlrig.local_hub import LocalHub, local_hub

TINY = ROOT / "presets" / "tiny" / "models"


@pytest.fixture
def hub(tmp_path: Path):
    """The small pipeline and Actor, each with files that are not read."""
    flux, actor = shutil.copytree(TINY / "flux", tmp_path / "flux"), shutil.copytree(TINY / "actor", tmp_path / "actor")
    (flux / "flux-whole.safetensors").write_bytes(b"0" * 1000)
    (flux / "transformer" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"0" * 1000)
    (flux / "text_encoder" / "pytorch_model.bin").write_bytes(b"0" * 1000)
    (flux / "safety_checker").mkdir()
    (flux / "safety_checker" / "model.safetensors").write_bytes(b"0" * 1000)
    (actor / "consolidated.safetensors").write_bytes(b"0" * 1000)
    (actor / "training_args.bin").write_bytes(b"0")
    with local_hub({"own/flux": flux, "own/actor": actor}) as hub:
        yield hub


def fetch(hub: LocalHub, tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **environment,
    }
    plain = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    command = [sys.executable, "-m", "rlrig.cli", "fetch", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**plain, **given}, capture_output=True, text=True, timeout=120, check=False
    )


ALL = (
    "--set",
    "models.flux=hf://own/flux",
    "--set",
    "models.actor=hf://own/actor",
    "--set",
    "models.checker=hf://own/actor",
)


def test_just_what_is_read_is_fetched_and_loads(hub: LocalHub, tmp_path: Path) -> None:
    done = fetch(hub, tmp_path, *ALL, "--to", str(tmp_path / "here"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("own/flux: 0.0")
    assert lines[0].endswith("license apache-2.0")
    assert lines[-2] == f"--set models.flux={tmp_path}/here/own--flux"
    assert lines[-1].endswith(f"={tmp_path}/here/own--actor")
    fetched = {str(p.relative_to(tmp_path / "here")) for p in (tmp_path / "here").rglob("*") if p.is_file()}
    names = {name for name in fetched if "/.cache/" not in name}
    assert "own--flux/transformer/diffusion_pytorch_model.safetensors" in names
    assert not [name for name in names if "whole" in name or "fp16" in name or name.endswith((".bin", ".md"))]
    assert not [name for name in names if "safety" in name or "consolidated" in name]
    for model, folder in (("flux", "own--flux"), ("actor", "own--actor")):
        for name in (one for one in names if one.startswith(folder)):
            inner = name.removeprefix(f"{folder}/")
            assert (tmp_path / "here" / name).read_bytes() == (TINY / model / inner).read_bytes()
    again = fetch(hub, tmp_path, *ALL, "--to", str(tmp_path / "here"), "--json")
    assert {one["model"] for one in json.loads(again.stdout)["models"]} == {"own/flux", "own/actor"}


def test_a_fetch_that_was_cut_off_goes_on_where_it_ended(hub: LocalHub, tmp_path: Path) -> None:
    weights, chunk = "model-extra.safetensors", 10 << 20  # what huggingface_hub writes at a time
    (hub.folders["own/actor"] / weights).write_bytes(bytes(range(256)) * (1 << 16) * 2)
    hub.cut[weights] = chunk + 1000
    done = fetch(hub, tmp_path, "--set", "models.actor=hf://own/actor")
    if done.returncode:  # it has not tried again by itself
        assert "run the command again, it goes on from here" in done.stderr
        done = fetch(hub, tmp_path, "--set", "models.actor=hf://own/actor")
    assert done.returncode == 0, done.stderr
    assert hub.ranges == [f"{weights} from {chunk}"]
    folder = Path(done.stdout.splitlines()[-1].removeprefix("models.actor: "))
    assert (folder / weights).read_bytes() == (hub.folders["own/actor"] / weights).read_bytes()


def test_a_gated_model_says_so_before_it_begins_and_needs_a_token(hub: LocalHub, tmp_path: Path) -> None:
    hub.gated.add("own/actor")
    arguments = ("--set", "models.actor=hf://own/actor")
    seen = fetch(hub, tmp_path, *arguments, "--dry-run")
    assert seen.returncode == 0
    assert "gated (manual): accept its terms at the hub, and set HF_TOKEN" in seen.stdout
    refused = fetch(hub, tmp_path, *arguments)
    assert refused.returncode == 2
    assert "models.actor: hf://own/actor is gated" in refused.stderr
    assert fetch(hub, tmp_path, *arguments, HF_TOKEN="hf_own").returncode == 0


def test_what_is_not_there_is_refused_by_name(hub: LocalHub, tmp_path: Path) -> None:
    done = fetch(hub, tmp_path, "--set", "models.actor=hf://own/nothing")
    assert done.returncode == 2
    assert "models.actor: hf://own/nothing is not on the hub; check its name" in done.stderr


def test_a_hub_that_cannot_be_reached_is_said(tmp_path: Path) -> None:
    done = fetch(LocalHub({}, url="http://127.0.0.1:9"), tmp_path, "--set", "models.actor=hf://own/actor")
    assert done.returncode == 1
    assert "models.actor: hf://own/actor was not fetched" in done.stderr


def test_each_model_is_named_once_by_its_first_key() -> None:
    values = {"models": {"a": "hf://o/x", "b": "hf://o/x", "c": "folder"}, "n": 1, "deep": {"er": {"d": "hf://o/y"}}}
    assert list(hub_models(values)) == [("models.a", "o/x"), ("deep.er.d", "o/y")]
