import json
from pathlib import Path

import pytest

from presets.errors import BadInput
from presets.run_file import load_config
from studio.episodes.follow import CheckpointGone, RunFollower, last_versions
from tests.places import PRESET
from weights.inventory import write_inventory

CONFIG = load_config(PRESET)


def checkpoint(run: Path, updates: int, **versions: int) -> Path:
    folder = run / "checkpoints" / f"{updates:05}"
    folder.mkdir(parents=True)
    (folder / "checkpoint.json").write_text("{}")
    for policy, version in versions.items():
        (folder / "policies" / policy).mkdir(parents=True)
        (folder / "policies" / policy / "state.json").write_text(json.dumps({"version": version}))
    write_inventory(folder)
    return folder


def test_the_newest_sound_checkpoint_is_found(tmp_path: Path) -> None:
    follower = RunFollower(tmp_path / "run", CONFIG)
    assert follower.newest() is None
    first = checkpoint(tmp_path / "run", 4, actor=4)
    assert follower.newest() == first
    second = checkpoint(tmp_path / "run", 8, actor=5, editor=3)
    (tmp_path / "run" / "checkpoints" / ".00012.partial").mkdir()  # one that is being written
    assert follower.newest() == second
    assert follower.versions(second) == {"actor": 5, "editor": 3}
    assert follower.versions(first) == {"actor": 4}
    damaged = checkpoint(tmp_path / "run", 12, actor=9)
    (damaged / "policies" / "actor" / "state.json").write_text("{}")
    assert follower.newest() == second


def test_a_checkpoint_that_the_run_removes_meanwhile_is_no_failure(tmp_path: Path) -> None:
    follower = RunFollower(tmp_path / "run", CONFIG)
    found = checkpoint(tmp_path / "run", 4, actor=4)
    (found / "policies" / "actor" / "state.json").unlink()
    with pytest.raises(CheckpointGone):
        follower.versions(found)


def test_the_last_versions_of_a_run_are_those_of_its_last_update(tmp_path: Path) -> None:
    assert last_versions(tmp_path) == {"actor": 0, "editor": 0}
    (tmp_path / "metrics.jsonl").write_text('{"actor_version": 1}\n{"actor_version": 2, "editor_version": 1}\n')
    assert last_versions(tmp_path) == {"actor": 2, "editor": 1}
    (tmp_path / "metrics.jsonl").write_text('{"actor_version": 1}\n{"actor_ver')
    with pytest.raises(BadInput, match=r"metrics\.jsonl"):
        last_versions(tmp_path)
