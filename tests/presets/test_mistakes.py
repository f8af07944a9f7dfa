import time
from pathlib import Path

import pytest

from presets.errors import ConfigError
from presets.run_file import load_config


def refused(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_config(path, overrides)
    return str(error.value)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("vlm.actor.model=5", "vlm.actor.model: 5 is refused: must be a valid string"),
        ("vlm.actor.max_tokens=0", "vlm.actor.max_tokens: 0 is refused: must be greater than or equal to 1"),
        ("vlm.actor.transport=xyz", "vlm.actor.transport: 'xyz' is refused: must be object_store"),
        ("learner.actor.temperature=yes", "learner.actor.temperature: 'yes' is refused: must be a valid number"),
        ("models.actor=hf://a/b/c", "models.actor: the folder 'a/b/c' does not exist"),
        ("rollout.max_answer_tokens=0", "rollout.max_answer_tokens: 0 is refused"),
    ],
)
def test_a_mistake_in_a_derived_key_is_told_once_of_the_key_that_was_set(
    run_file: Path, override: str, expected: str
) -> None:
    first, *others = refused(run_file, override).splitlines()[1:]
    assert expected in first
    assert not others


def test_words_for_true_and_quoted_numbers_are_refused_with_the_remedy(run_file: Path) -> None:
    message = refused(
        run_file, "rollout.drop_equal_groups=yes", "learner.actor.learning_rate='1e-4'", "ray.num_cpus=.inf"
    )
    assert "rollout.drop_equal_groups: 'yes' is refused: must be a valid boolean, write true or false" in message
    assert "learner.actor.learning_rate: '1e-4' is refused: must be a valid number, write it without quotes" in message
    assert "ray.num_cpus: inf is refused: must be a finite number" in message


@pytest.mark.parametrize("name", ["\U0001f642" * 200, "../" * 2000, "~nobody-here/model", "a/" * 3000])
def test_a_path_that_no_file_system_holds_is_refused_by_name(run_file: Path, name: str) -> None:
    for key in ("models.actor", "data.path"):
        assert f"  {key}: " in refused(run_file, f"{key}={name}")


def test_many_mistakes_and_long_names_are_cut(run_file: Path) -> None:
    message = refused(run_file, *(f"unknown{number}=1" for number in range(40)), f"seed={'x' * 5000}", "tuple=1")
    assert "and 12 more mistakes" in message
    assert len(message) < 20_000
    assert "no key has 5000 parts" in refused(run_file, ".".join("a" * 5000) + "=1")


def test_a_hundred_million_updates_are_planned_at_once(run_file: Path) -> None:
    began = time.process_time()
    config = load_config(run_file, ["stages=[{stage: alternate, updates: 100000000}]"])
    assert (config.total_updates, config.trained) == (10**8, {"actor", "editor"})
    assert time.process_time() - began < 2.0
