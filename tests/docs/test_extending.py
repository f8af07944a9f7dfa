"""The pages about code of the user's own: their files are written down and used as the pages say."""

from __future__ import annotations

import importlib
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from presets.run_file import load_config
from rewards.scorers.checker import load_reading
from rlrig.checks.preflight import check_own_code
from rollout.prompts import load_prompts
from scenes.extractors import extract
from scenes.laion_sg import write_records
from scenes.shape_world import sample_graphs, sample_scene
from serving.own_checker import OwnChecker
from tests.docs.pages import DOCS, ROOT, blocks_of, files_of
from tests.places import PRESET

PAGES = {path.stem: path.read_text() for path in sorted((DOCS / "extending").glob("[a-z]*.md"))}

COMMANDS = [
    (name, line)
    for name, page in PAGES.items()
    for block in blocks_of(page)
    if block.language == "sh"
    for line in block.text.splitlines()
    if line.startswith("rlrig ")
]
SCENES = 160


def write_files(folder: Path) -> None:
    """Everything that the pages name, in one folder, with tables long enough for a run."""
    for page in PAGES.values():
        for name, text in files_of(page).items():
            (folder / name).write_text(text)
    graphs = list(islice(sample_graphs("train", 3), SCENES))
    lines = [f"{k},{','.join(r.triple)}\n" for k, graph in enumerate(graphs) for r in graph.requirements]
    (folder / "scenes.csv").write_text("".join(["scene,subject,predicate,object\n", *lines]))
    write_records(graphs, folder / "records.jsonl")
    published = folder / "laion-sg" / "dataset"
    published.mkdir(parents=True)
    write_records(graphs[20:], published / "train.json")
    write_records(graphs[:20], published / "test.json")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files of the pages, from which their modules are imported anew."""
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    for name in [name for name in sys.modules if name.startswith("own_")]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


def module(name: str) -> ModuleType:
    importlib.invalidate_caches()
    return importlib.import_module(name)


def test_there_is_a_page_with_a_file_for_each_part() -> None:
    assert list(PAGES) == ["checker", "dataset", "detector", "diffuser", "editor", "reward", "vlm"]
    given = {name for page in PAGES.values() for name in files_of(page) if name.endswith(".py")}
    parts = ("checker", "diffuser", "editor", "gpu_scorer", "reward", "scenes", "scorer", "service", "vlm")
    assert given == {f"own_{part}.py" for part in parts}


def test_the_files_are_as_the_repository_writes_code(own: Path) -> None:
    ruff = [str(Path(sys.executable).with_name("ruff"))]
    settings = ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    files = [str(path) for path in sorted(own.glob("own_*.py"))]
    for command in (["check", *settings], ["format", "--check", *settings]):
        done = subprocess.run([*ruff, *command, *files], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_the_settings_of_a_command_are_taken(page: str, command: str, own: Path) -> None:
    """As far as it goes without a run: keys and values are known, and the code that they name can be imported."""
    words = shlex.split(command)
    settings = [words[k + 1] for k, word in enumerate(words) if word == "--set"]
    assert settings, f"{page}: {command} sets nothing"
    (own / "models").mkdir()
    shutil.copytree(PRESET.parent / "models" / "actor", own / "models" / "deep-actor")
    settings = [setting.replace("=/data/", f"={own}/").replace("=models/", f"={own}/models/") for setting in settings]
    config = load_config(PRESET, settings)
    assert config != load_config(PRESET)
    if config.editor.family is None:  # its class loads torch and diffusers
        check_own_code(config)


def test_the_reward_of_the_page_minds_the_worst_requirement_and_empty_images(own: Path) -> None:
    scene = sample_scene(np.random.default_rng(0))
    reward = load_reading("own_reward:careful")
    assert reward([1.0, 0.2], scene.image, scene.graph) == pytest.approx(0.4)
    assert reward([0.6, 0.6], scene.image, scene.graph) == pytest.approx(0.6)
    assert reward([0.6, 0.6], np.full_like(scene.image, 200), scene.graph) == pytest.approx(0.4)


def test_the_checker_of_the_page_is_exact_and_asks_about_unclear_images(own: Path) -> None:
    asked: list[int] = []

    class Vlm:
        unanswered = 0

        @staticmethod
        def satisfaction(images: Any, requirements: Any) -> list[list[float]]:
            asked.append(len(images))
            return [[0.3] * len(wanted) for wanted in requirements]

    scenes = [sample_scene(np.random.default_rng(k), relations=(2, 3)) for k in range(4)]
    images, wanted = [scene.image for scene in scenes], [scene.graph.requirements for scene in scenes]
    mirrored = [image[:, ::-1] for image in images]
    stripes = images[0].copy()
    stripes[::8, :, :] = (220, 40, 40)
    checker = OwnChecker("own_checker:from_pixels", module("own_checker").from_pixels, Vlm)
    assert checker.satisfaction(images, wanted) == [[1.0] * len(row) for row in wanted]
    found = checker.satisfaction(mirrored, wanted)
    sides = [[r.predicate in ("above", "below") for r in row] for row in wanted]
    assert [[bool(value) for value in row] for row in found] == sides
    assert extract(stripes).malformed
    assert checker.satisfaction([images[1], stripes], wanted[:2][::-1]) == [
        [1.0] * len(wanted[1]),
        [0.3] * len(wanted[0]),
    ]
    assert asked == [0, 0, 1]


def test_the_table_of_the_page_becomes_scene_graphs(own: Path) -> None:
    scenes = module("own_scenes")
    (own / "four.csv").write_text(files_of(PAGES["dataset"])["scenes.csv"])
    first, second = scenes.from_csv(str(own / "four.csv"), 0)
    assert (first.img_id, first.prompt) == ("scene-1", "red circle left of blue square; green star above red circle")
    assert [item.name for item in second.items] == ["yellow triangle", "purple star", "orange circle"]
    with pytest.raises(ValueError, match=r"name the table in data\.path"):
        next(scenes.from_csv(None, 0))
    config = load_config(PRESET, ["data.source=own_scenes:from_csv", "data.path=scenes.csv"])
    prompts = load_prompts(config.data, config.seed)
    assert len(prompts.train) > 0.8 * SCENES
    assert prompts.held_out


@pytest.mark.skipif(find_spec("datasets") is None, reason="Hugging Face datasets is not installed")
def test_a_data_set_of_the_hub_becomes_scene_graphs(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(own / "hub"))
    sources = ("data.source=own_scenes:from_datasets", "data.path=records.jsonl")
    config = load_config(PRESET, sources)
    prompts = load_prompts(config.data, config.seed)
    same = load_config(PRESET, ["data.source=laion_sg", f"data.path={own}/records.jsonl"])
    expected = load_prompts(same.data, same.seed)
    assert list(prompts.train) == list(expected.train)
    assert list(prompts.held_out) == list(expected.held_out)


def test_the_diffuser_of_the_page_paints_the_right_objects_anywhere(own: Path) -> None:
    painter = module("own_diffuser").Painter("anywhere", image_size=64, steps=4, device="cpu")
    graphs = list(islice(sample_graphs("train", 1), 12))
    images = painter.draw([graph.prompt for graph in graphs], list(range(12)))
    assert all((image.shape, image.dtype) == ((64, 64, 3), np.uint8) for image in images)
    assert [sorted(extract(image).names) for image in images] == [sorted(graph.names) for graph in graphs]
    (again,) = painter.draw([graphs[3].prompt], [3])
    assert np.array_equal(again, images[3])
    assert not np.array_equal(*painter.draw([graphs[0].prompt] * 2, [0, 1]))
