from pathlib import Path
from types import SimpleNamespace

import pytest

from presets.errors import BadInput
from presets.run_file import load_config
from reports.provenance.starts import read_starts
from rlrig.run_folder import RunFolder
from rollout.trajectory import read_parquet
from tests.rollout.test_trajectory import example
from weights.inventory import damage


class Algorithm(SimpleNamespace):
    """Writes a checkpoint of two files."""

    def save_to_path(self, path: str) -> None:
        (Path(path) / "checkpoint.json").write_text("{}")
        (Path(path) / "policies").mkdir()
        (Path(path) / "policies" / "weights").write_bytes(bytes(range(256)) * 40 + bytes([self.updates]))


def folder_with(tmp_path: Path, updates: int, keep: int = 2) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    for number in range(1, updates + 1):
        folder.save_checkpoint(Algorithm(updates=number), keep)
    return folder


def test_the_newest_checkpoint_is_taken_and_old_ones_are_removed(tmp_path):
    folder = folder_with(tmp_path, 4)
    assert [path.name for path in folder.checkpoints()] == ["00003", "00004"]
    assert folder.last_checkpoint().name == "00004"
    assert damage(folder.last_checkpoint()) is None


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "policies/weights is not what was written"),
        (lambda path: path.write_bytes(b"\x01" + path.read_bytes()[1:]), "policies/weights is not what was written"),
        (lambda path: path.unlink(), "policies/weights is missing"),
        (lambda path: (path.parent.parent / "inventory.json").write_text('{"a": '), "inventory.json is damaged"),
        (lambda path: (path.parent.parent / "inventory.json").unlink(), "inventory.json is missing"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_taken(tmp_path, harm, expected):
    folder, notes = folder_with(tmp_path, 3), []
    harm(folder.path / "checkpoints" / "00003" / "policies" / "weights")
    assert folder.last_checkpoint(notes.append).name == "00002"
    assert notes == [f"checkpoint 00003 is damaged and left out: {expected}"]


def test_a_run_without_a_sound_checkpoint_is_refused(tmp_path):
    with pytest.raises(BadInput, match="holds no checkpoint; start a new run"):
        RunFolder(tmp_path / "run").last_checkpoint()
    folder = folder_with(tmp_path, 2)
    for path in folder.checkpoints():
        (path / "policies" / "weights").write_bytes(b"")
    with pytest.raises(BadInput, match="all 2 checkpoints are damaged"):
        folder.last_checkpoint()


def test_a_checkpoint_that_was_not_finished_does_not_count(tmp_path):
    folder = folder_with(tmp_path, 1)
    (folder.path / "checkpoints" / ".00002.partial").mkdir()
    (folder.path / "checkpoints" / "00003").mkdir()
    assert [path.name for path in folder.checkpoints()] == ["00001"]


def test_the_settings_of_every_start_are_kept(tmp_path, run_file):
    folder, config = RunFolder(tmp_path / "run"), load_config(run_file)
    folder.begin(config, 0, now=100.0)
    folder.write_json("progress.json", {"at": 130.0})  # the start was killed
    other = load_config(run_file, ["learner.actor.learning_rate=5e-6"])
    folder.begin(other, 4, now=200.0)
    folder.ended(12.5)
    starts, faults = read_starts(folder.path)
    assert faults == []
    assert [(start.update, start.seconds) for start in starts] == [(0, 30.0), (4, 12.5)]
    assert [start.config["learner"]["actor"]["learning_rate"] for start in starts] == [1e-4, 5e-6]
    assert load_config(folder.path / "config.yaml") == other


def test_a_run_that_is_finished_is_known_and_fewer_updates_than_are_done_are_refused(tmp_path):
    folder = RunFolder(tmp_path)
    assert not folder.finished_with(4, asked=4)
    folder.write_json("summary.json", {"minutes": 1.0, "models": ["models/actor"]})
    assert not folder.finished_with(4, asked=4)
    (tmp_path / "models" / "actor").mkdir(parents=True)
    assert folder.finished_with(4, asked=4)
    assert not folder.finished_with(4, asked=5)
    with pytest.raises(BadInput, match="stages: 3 updates are fewer than the 4 that are done"):
        folder.finished_with(4, asked=3)


def test_turns_that_taught_nothing_are_kept_the_last_of_them(tmp_path: Path) -> None:
    turns = [example(member=k, unread="no edit") for k in range(300)]
    file = RunFolder(tmp_path).keep_without_signal(turns)
    found = read_parquet(file)
    assert [turn.member for turn in found] == list(range(44, 300))
    assert {turn.unread for turn in found} == {"no edit"}
