"""What is tried before anything starts: the user's own functions, the Checker's words, and the prompts."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from presets.errors import BadInput
from presets.run_config import RunConfig
from presets.run_file import load_config
from rlrig.checks.dry_run import check_before_start, check_own_functions, check_yes_and_no
from scenes.laion_sg import write_records
from scenes.requirements_reader import read_requirements
from scenes.shape_world import PREDICATES
from tests.places import PRESET

OWN = """
import time

from scenes.dialogue import UnparsableAnswer

def judge(images, requirements, ask):
    return ask(images, requirements)

def judge_twice(images, requirements, ask):
    return [[0.5] for _ in images]

def judge_beyond(images, requirements, ask):
    return [[2.0 for _ in wanted] for wanted in requirements]

def reward(satisfaction, image, graph):
    return sum(satisfaction) + image.mean() + len(graph.requirements)

def reward_of_two(satisfaction, image):
    return 1.0

def reward_of_text(satisfaction, image, graph):
    return "good"

def slow(satisfaction, image, graph):
    time.sleep(5)
    return 1.0

class Talk:
    system = None

    def request(self, requirements, unmet):
        return f"{len(requirements)} asked, {len(unmet)} open"

    def question(self, requirement):
        return requirement.text

    def read(self, answer):
        raise UnparsableAnswer(answer)

class NoText(Talk):
    def question(self, requirement):
        return requirement

class Breaks(Talk):
    def read(self, answer):
        return answer.index("edit")

def scenes(path, seed):
    raise KeyError("column")
"""


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_of_dry_run.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "own_of_dry_run", raising=False)


def with_own(*overrides: str) -> RunConfig:
    return load_config(PRESET, [override.replace("=", "=own_of_dry_run:", 1) for override in overrides])


def test_functions_that_fit_pass() -> None:
    check_own_functions(with_own("rollout.reward=reward", "rollout.checker=judge", "rollout.dialogue=Talk"))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("rollout.reward=reward_of_two", r"rollout\.reward: 'own_of_dry_run:reward_of_two' is refused: .*TypeError"),
        ("rollout.reward=reward_of_text", r"rollout\.reward: .* returned str 'good'; return one float"),
        ("rollout.checker=judge_twice", r"rollout\.checker: .* returned \[1\] values for \[2\] requirements"),
        ("rollout.checker=judge_beyond", r"rollout\.checker: .* returned 2\.0; a probability is within"),
        ("rollout.dialogue=NoText", r"rollout\.dialogue: .* TypeError: request, question and system are texts"),
        ("rollout.dialogue=Breaks", r"rollout\.dialogue: .* ValueError: substring not found"),
        ("rollout.dialogue=judge", r"rollout\.dialogue: .* TypeError: judge\(\) missing 3"),
        ("rollout.checker=absent", r"rollout\.checker: .* own_of_dry_run has no absent"),
    ],
)
def test_a_function_that_does_not_fit_is_refused_by_name(override: str, expected: str) -> None:
    with pytest.raises(BadInput, match=expected):
        check_own_functions(with_own(override))


def test_a_function_that_hangs_is_refused() -> None:
    config = with_own("rollout.reward=slow")
    config = config.model_copy(update={"rollout": config.rollout.model_copy(update={"deadline_s": 0.2})})
    with pytest.raises(BadInput, match=r"did not end within rollout\.deadline_s = 0\.2 s"):
        check_own_functions(config)


def test_a_data_function_that_fails_is_refused() -> None:
    with pytest.raises(BadInput, match=r"data\.source: own_of_dry_run:scenes.*KeyError: 'column'"):
        check_before_start(with_own("data.source=scenes"))


def test_a_checker_without_a_word_for_yes_is_refused(tmp_path: Path) -> None:
    config = load_config(PRESET)
    check_yes_and_no(config)
    folder = tmp_path / "checker"
    shutil.copytree(config.models.checker, folder)
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text.replace('"yes"', '"oui"'))
    with pytest.raises(BadInput, match=r"models\.checker: .*checker has no single token for 'yes'"):
        check_yes_and_no(load_config(PRESET, [f"models.checker={folder}"]))


def test_prompts_of_which_the_models_know_none_are_refused_and_some_are_told(tmp_path: Path) -> None:
    file = tmp_path / "records.json"

    def config_for(*prompts: str) -> RunConfig:
        graphs = [read_requirements(prompt, PREDICATES, str(k)) for k, prompt in enumerate(prompts * 60)]
        write_records(graphs, file)
        return load_config(PRESET, ["data.source=laion_sg", f"data.path={file}", "data.relations=[1, 3]"])

    notes: list[str] = []
    known, unknown = "red circle above blue square", "cat above dog"
    check_before_start(config_for(known), notes.append)
    assert notes == []
    check_before_start(config_for(known, unknown, unknown), notes.append)
    assert "prompts are beyond the models, the first" in notes[0]
    with pytest.raises(BadInput, match=r"beyond the models, the first .*: the models do not know 'cat', 'dog'"):
        check_before_start(config_for(unknown))


def test_records_that_ask_for_what_cannot_be_are_left_out(tmp_path: Path) -> None:
    from rollout.prompts import load_prompts

    file = tmp_path / "records.json"
    graphs = [read_requirements("red circle above blue square", PREDICATES, str(k)) for k in range(99)]
    write_records(graphs, file)
    records = json.loads(file.read_text())
    records[5]["relations"].append({"item1": 1, "relation": "above", "item2": 0})
    file.write_text(json.dumps(records))
    config = load_config(PRESET, ["data.source=laion_sg", f"data.path={file}", "data.relations=[1, 3]"])
    prompts = load_prompts(config.data, config.seed)
    assert all(graph.img_id != "5" for graph in [*prompts.train, *prompts.held_out])
    assert "1 left out, relations that cannot all hold; the first: record 5: img_id '5', these two" in prompts.notes[1]
