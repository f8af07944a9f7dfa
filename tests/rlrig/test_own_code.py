"""Run files that name code of the user's own: how keys are read, looked at before a run, and shown by the doctor."""

import sys
from pathlib import Path

import pytest

from presets.checks import own_code
from presets.data import DataConfig
from presets.errors import BadInput, ConfigError
from presets.run_file import dump_config, load_config
from rlrig.checks.preflight import check_own_code
from rlrig.doctor import examine
from rollout.prompts import load_prompts
from scenes.scene_graph import SceneGraph

OWN = """
from itertools import islice

from scenes.scene_graph import Item, SceneGraph
from scenes.shape_world import sample_graphs

def scenes(path, seed):
    assert path is None
    return islice(sample_graphs("train", seed, (1, 3)), 400)

def records(path, seed):
    for graph in scenes(None, seed):
        yield graph.record()
    yield SceneGraph("alone", (Item(0, "cat"),), ()).record()

def twice(path, seed):
    yield from list(scenes(None, seed))[:2]
    yield from list(scenes(None, seed))[:1]

def broken(path, seed):
    yield {"img_id": 5}

def missing(path, seed):
    return open(path)

def reward(satisfaction, image, graph):
    return 1.0

class Painter:
    def draw(self, prompts, seeds, steps=None):
        return []
"""


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_of_a_test.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "own_of_a_test", raising=False)


def data(name: str, **settings: object) -> DataConfig:
    return DataConfig(source=f"own_of_a_test:{name}", **settings)


def test_scene_graphs_and_records_of_a_function_are_split_and_limited() -> None:
    graphs, records = (load_prompts(data(name, relations=(2, 3)), seed=5) for name in ("scenes", "records"))
    assert list(graphs.train) == list(records.train)
    assert list(graphs.held_out) == list(records.held_out)
    assert records.notes[0].endswith("400 of 401 records can be used")
    assert len(graphs.train) > 100
    assert len(graphs.held_out) > 3
    assert all(isinstance(graph, SceneGraph) and 2 <= len(graph.requirements) <= 3 for graph in graphs.train)
    assert {graph.img_id for graph in graphs.train}.isdisjoint(graph.img_id for graph in graphs.held_out)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("twice", r"(?s)own_of_a_test:twice leaves .*1 left out, an img_id that occurred before.*: img_id 'train-0-0'"),
        ("broken", r"(?s)data\.source: own_of_a_test:broken.* no record .*record 0: field 'items' is missing"),
        ("missing", r"data\.source: own_of_a_test:missing, data\.path 'nowhere\.csv': FileNotFoundError"),
        ("absent", r"data\.source: 'own_of_a_test:absent' is refused: own_of_a_test has no absent"),
    ],
)
def test_a_function_that_fails_is_named(name: str, expected: str) -> None:
    path = "nowhere.csv" if name == "missing" else None
    with pytest.raises(BadInput, match=expected):
        load_prompts(data(name, path=path), seed=0)


def test_too_few_records_of_a_function_are_refused() -> None:
    with pytest.raises(BadInput, match=r"data\.source: own_of_a_test:scenes leaves 0 training"):
        load_prompts(data("scenes", relations=(5, 5)), seed=0)


def test_keys_that_name_code_are_kept_and_dumped(run_file: Path) -> None:
    named = {
        "data.source": "own_of_a_test:scenes",
        "rollout.reward": "own_of_a_test:reward",
        "rollout.checker": "package.module:judge",
        "diffuser.family": "own_of_a_test:Painter",
    }
    config = load_config(run_file, [f"{key}={value}" for key, value in named.items()])
    assert own_code(config) == named
    copy = run_file.with_name("copy.yaml")
    copy.write_text(dump_config(config))
    assert load_config(copy) == config
    assert config.diffuser.model_settings["family"] == "own_of_a_test:Painter"
    assert "family" not in config.editor.model_settings
    assert own_code(load_config(run_file)) == {}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "rollout.reward=sof",
            "rollout.reward: 'sof' is refused: must be hard, soft or module:name of your own code, did",
        ),
        ("rollout.reward=a:b:c", "rollout.reward: 'a:b:c' is refused: must be hard, soft or module:name"),
        ("rollout.checker=VLM", "rollout.checker: 'VLM' is refused: must be vlm or module:name"),
        ("data.source=laion", "data.source: 'laion' is refused: must be shape_world, laion_sg or module:name"),
        ("diffuser.family=flux", "diffuser.family: 'flux' is refused: must be module:name of your own code"),
        ("rollout.reward=3", "rollout.reward: 3 is refused: must be a valid string"),
    ],
)
def test_a_value_that_is_neither_is_refused_with_what_is_allowed(run_file: Path, override: str, expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(run_file, [override])
    assert expected in str(error.value)


def test_the_path_of_a_function_may_be_anything(run_file: Path, tmp_path: Path) -> None:
    source = "data.source=own_of_a_test:scenes"
    (tmp_path / "scenes.csv").write_text("")
    assert load_config(run_file, [source, "data.path=scenes.csv"]).data.path == str(tmp_path / "scenes.csv")
    assert load_config(run_file, [source, "data.path=owner/name"]).data.path == "owner/name"
    assert load_config(run_file, [source]).data.path is None
    with pytest.raises(ConfigError, match=r"data\.path: 'owner/name' is no file"):
        load_config(run_file, ["data.source=laion_sg", "data.path=owner/name"])


def test_code_is_looked_at_before_a_run_and_every_mistake_is_told(run_file: Path) -> None:
    good = [
        "data.source=own_of_a_test:scenes",
        "rollout.reward=own_of_a_test:reward",
        "diffuser.family=own_of_a_test:Painter",
    ]
    check_own_code(load_config(run_file, good))
    bad = [
        "data.source=not_there:scenes",
        "rollout.reward=own_of_a_test:rewards",
        "diffuser.family=own_of_a_test:reward",
        "editor.family=own_of_a_test:Painter",
    ]
    with pytest.raises(BadInput) as error:
        check_own_code(load_config(run_file, bad))
    lines = str(error.value).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("data.source: 'not_there:scenes' is refused: there is no module 'not_there'")
    assert lines[1].startswith("rollout.reward: 'own_of_a_test:rewards' is refused: own_of_a_test has no rewards")
    assert "diffuser.family: 'own_of_a_test:reward' is refused: it has no method draw" in lines[2]
    assert "editor.family: 'own_of_a_test:Painter' is refused: it is no subclass of actors.image_model" in lines[3]


def test_the_doctor_shows_the_users_code(run_file: Path) -> None:
    def found(*overrides: str):
        return [finding for finding in examine(run_file, overrides, engines=False) if finding.name == "own code"]

    assert found() == []
    (good,) = found("rollout.reward=own_of_a_test:reward")
    assert (good.value, good.blocks) == ("own_of_a_test:reward", False)
    (bad,) = found("rollout.reward=not_there:reward")
    assert bad.blocks
    assert "there is no module 'not_there'" in bad.problem
    assert bad.remedy
