"""Where the models of `rlrig generate` are, and what it says of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from presets.errors import BadInput
from presets.run_file import load_config
from rlrig.generation import generate
from rlrig.local import players
from rollout.progress import Progress
from scenes.scene_graph import SceneGraph, parse_prompt
from scenes.shape_world import PREDICATES
from tests.places import TINY
from tests.rollout.scripted_models import ScriptedModels

PROMPT = "red circle left of blue square; green star above red circle"
GRAPH = parse_prompt(PROMPT, PREDICATES)


class Started(ScriptedModels):
    """Models that are played by a script, and closed."""

    def __init__(self) -> None:
        super().__init__(threshold=160, first=10, spread=20)
        self.closed: list[bool] = []

    def close(self, keep_serve: bool) -> None:
        self.closed.append(keep_serve)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Models by the way that they were started in."""
    from rlrig.local import models as local_models
    from rollout import models as ray_models

    found: dict[str, Any] = {}

    @contextmanager
    def no_ray(_: object) -> Iterator[None]:
        yield

    def start(name: str) -> Any:
        def started(config: Any, progress: Progress) -> Started:
            found[name] = Started()
            return found[name]

        return started

    monkeypatch.setattr(players, "ray_for_run", no_ray)
    monkeypatch.setattr(local_models, "load_models", start("local"))
    monkeypatch.setattr(ray_models, "start_models", start("ray"))
    return found


def play(out: Path, *overrides: str, on_ray: bool = False, graph: SceneGraph = GRAPH) -> list[str]:
    """What it says of an episode."""
    progress = Progress()
    generate(load_config(TINY / "run.yaml", overrides), graph, None, out, 5, progress, on_ray)
    return progress.notes


def test_small_models_are_in_this_process(started: dict[str, Any], tmp_path: Path) -> None:
    notes = play(tmp_path / "out")
    assert list(started) == ["local"]
    assert notes[0].startswith("first image: ")
    assert notes[-1].endswith(f"→ {tmp_path}/out/episode.png")
    assert json.loads((tmp_path / "out" / "trace.json").read_text())["prompt"] == PROMPT


@pytest.mark.parametrize(
    ("on_ray", "overrides", "said", "kept"),
    [
        (True, (), "models on Ray and vLLM: --ray", True),
        (False, ("ray.address=auto",), "models on Ray and vLLM: ray.address is auto", False),
        (True, ("vlm.actor.gpus=1",), "models on Ray and vLLM: vlm.actor.gpus is 1", True),
    ],
)
def test_other_models_are_on_ray_which_says_why_and_ends_them(
    started: dict[str, Any], tmp_path: Path, on_ray: bool, overrides: tuple[str, ...], said: str, kept: bool
) -> None:
    notes = play(tmp_path / "out", *overrides, on_ray=on_ray)
    assert list(started) == ["ray"]
    assert notes[0] == said
    assert notes[-1].endswith(f"→ {tmp_path}/out/episode.png")
    assert started["ray"].closed == [kept]


def test_on_ray_the_hubs_models_come_to_the_nodes_before_any_is_started(
    started: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there: list[list[str]] = []
    monkeypatch.setattr(players, "fetch_models", lambda config, progress: there.append(list(started)))
    play(tmp_path / "out", on_ray=True)
    assert (there, list(started)) == ([[]], ["ray"])


@pytest.mark.parametrize("on_ray", [False, True])
def test_what_cannot_work_is_refused_before_anything_starts(
    started: dict[str, Any], tmp_path: Path, on_ray: bool
) -> None:
    unknown = parse_prompt("red dragon left of blue square", PREDICATES)
    with pytest.raises(BadInput, match="prompt: the models do not know 'red dragon'; did you mean"):
        play(tmp_path / "out", on_ray=on_ray, graph=unknown)
    shutil.copytree(TINY / "models" / "actor", tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(BadInput, match=r"models\.actor: .*cut/model\.safetensors is damaged"):
        play(tmp_path / "out", f"models.actor={tmp_path / 'cut'}", on_ray=on_ray)
    assert not started


@pytest.mark.engines
def test_the_command_loads_small_models_one_by_one_and_neither_ray_nor_vllm(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = (
        "import sys\n"
        "from rlrig.cli import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "print(sorted({'ray', 'vllm', 'deepspeed'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, "generate", PROMPT, "--seed", "0", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.strip().partition("  ")[2] for line in done.stdout.splitlines()[:-1]]
    names = ["Inverse Diffuser", "Diffuser", "Actor", "Checker"]
    loading = [f"loading, {number} of 4: {name}" for number, name in enumerate(names, 1)]
    assert [line for line in lines if line.startswith("loading")] == loading
    assert any(line.startswith("edit 1: ") for line in lines)
    assert done.stdout.splitlines()[-1] == "[]"
    assert not done.stderr
