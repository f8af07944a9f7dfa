from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.jobs import is_done, run_job
from experiments.plan import TrainingJob
from presets.errors import BadInput, RunFailed
from presets.run_file import dump_config, load_config
from tests.places import PRESET

JOB = TrainingJob("stages", 3, ("seed=3",))


def test_a_job_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    folder = tmp_path / "stages-seed3"
    folder.mkdir()
    assert not is_done(folder)
    (folder / "summary.json").write_text(json.dumps({"run": "x"}))
    assert not is_done(folder)
    (folder / "summary.json").write_text(json.dumps({"run": "x", "models": ["models/actor"]}))
    assert run_job(JOB, tmp_path / "no-such-preset.yaml", tmp_path, 1.0, pytest.fail) == folder


def test_a_job_that_fails_names_its_log_and_its_reason(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(RunFailed, match=r"stages-seed3: ended with exit code 2.*no-such-preset.*stages-seed3\.log"):
        run_job(JOB, tmp_path / "no-such-preset.yaml", tmp_path, 60.0, said.append)
    assert "training" in said[0]


def test_a_job_past_its_deadline_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="not done after 0 s"):
        run_job(JOB, tmp_path / "no-such-preset.yaml", tmp_path, 0.05, lambda _: None)


def test_a_run_with_other_settings_is_not_taken_for_the_job(tmp_path: Path) -> None:
    folder = tmp_path / "stages-seed3"
    folder.mkdir()
    (folder / "summary.json").write_text(json.dumps({"models": ["models/actor"]}))
    (folder / "config.yaml").write_text(dump_config(load_config(PRESET, ["seed=3"])))
    assert run_job(JOB, PRESET, tmp_path, 1.0, pytest.fail) == folder
    (folder / "config.yaml").write_text(dump_config(load_config(PRESET, ["seed=3", "editor.eta=0.3"])))
    with pytest.raises(BadInput, match="stages-seed3: holds a run with other settings"):
        run_job(JOB, PRESET, tmp_path, 1.0, pytest.fail)
