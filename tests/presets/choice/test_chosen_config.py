"""Which configuration a command or a program gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from presets.choice.chosen_config import config_to_train, models_of
from presets.errors import BadInput
from presets.places import TINY
from presets.run_file import dump_config


def test_models_are_those_beside_the_preset_or_of_the_run(run_file: Path, tmp_path: Path) -> None:
    config, run, trained = models_of(None, TINY, [], None)
    assert (Path(config.models.actor).parts[-3:], run, trained) == (("trained", "models", "actor"), None, True)
    config, run, trained = models_of(None, TINY, [], "raw")
    assert (Path(config.models.actor).parts[-2:], run, trained) == (("models", "actor"), None, False)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(dump_config(config_to_train(run_file, [], tmp_path / "new", False)))
    assert models_of(folder, TINY, [], None)[1:] == (folder, False)
    assert models_of(folder, TINY, [], "raw")[1:] == (None, False)


def test_a_run_starts_in_an_empty_folder_and_goes_on_with_what_it_keeps(run_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    config = config_to_train(run_file, ["seed=9"], folder, False, updates=10)
    assert [stage.updates for stage in config.stages] == [4, 6]  # as 2 and 3 of the run file
    folder.mkdir()
    (folder / "config.yaml").write_text(dump_config(config))
    with pytest.raises(BadInput, match="exists and is not empty"):
        config_to_train(run_file, [], folder, False)
    assert config_to_train(run_file, [], folder, True) == config
    assert [stage.updates for stage in config_to_train(run_file, [], folder, True, updates=11).stages] == [4, 7]
    with pytest.raises(BadInput, match="seed: 8 is refused with --resume"):
        config_to_train(run_file, ["seed=8"], folder, True)
