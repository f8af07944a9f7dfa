from pathlib import Path
from types import SimpleNamespace

import pytest

from rollout.errors import BadInput
from rollout.inventory import damage
from rollout.run_folder import RunFolder


class Algorithm(SimpleNamespace):
    """Writes a checkpoint of two files."""

    def save_to_path(self, path: str) -> None:
        (Path(path) / "rllib_checkpoint.json").write_text("{}")
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
