import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from learner.saving.state import NotASavedState, read_state, write_state
from presets.errors import BadInput, ConfigError
from presets.run_file import dump_config, load_config
from rlrig.run_folder import RunFolder
from rollout.checkpoint import HEAD, OLD_HEAD, CheckpointHead, read_head, write_head
from rollout.groups.schedule import new_scheduler, saved_scheduler
from rollout.trajectory import write_parquet
from studio.episodes.follow import RunFollower
from tests.places import PRESET
from tests.rollout.test_trajectory import example
from weights.inventory import write_inventory
from weights.manifest import WeightMismatch

VERSIONS = {"actor": 3, "editor": 0}
PICKLED = "reading it would execute what it holds; where you know who made it, add --trust-pickles"


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder with a checkpoint as a run writes it, whose Actor has one tensor."""
    config = load_config(PRESET)
    folder = tmp_path / "run" / "checkpoints" / "00003"
    engine = folder / "policies" / "actor" / "engine"
    engine.mkdir(parents=True)
    write_state({"module": {"weight": torch.ones(2)}}, engine / "mp_rank_00_model_states.safetensors")
    (folder / "policies" / "actor" / "state.json").write_text(json.dumps({"version": 3, "digest": "0"}))
    (folder / "buffered").mkdir()
    scheduler = new_scheduler(config.rollout)
    scheduler.add_worker(0)
    (assignment,) = scheduler.dispatch(0.0)
    scheduler.finished(assignment.ticket, [example()])
    write_parquet([example()], folder / "buffered" / f"{assignment.ticket}.parquet")
    (folder / "schedule.json").write_text(json.dumps(scheduler.state()))
    (folder / "config.yaml").write_text(dump_config(config))
    write_head(CheckpointHead(updates=3, versions=VERSIONS, training_iteration=3), folder)
    write_inventory(folder)
    return tmp_path / "run"


def read_all(run: Path) -> None:
    """Everything that is read of a run's newest checkpoint, by `--resume`, `--follow` and RLlib's users."""
    folder = RunFolder(run).last_checkpoint()
    assert read_head(folder).versions == VERSIONS
    assert len(saved_scheduler(json.loads((folder / "schedule.json").read_text()), folder / "buffered").buffered()) == 1
    config = load_config(folder / "config.yaml")
    follower = RunFollower(run, config)
    assert follower.newest() == folder
    assert follower.versions(folder) == {"actor": 3}
    read_state(folder / "policies" / "actor" / "engine" / "mp_rank_00_model_states.safetensors")
    with pytest.raises(WeightMismatch, match="weight"):
        follower.update(folder, "actor")


def files_of(run: Path) -> list[Path]:
    folder = run / "checkpoints" / "00003"
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def test_a_checkpoint_is_read_as_it_was_written(run: Path) -> None:
    assert [file.suffix for file in files_of(run) if file.suffix in (".pkl", ".pt", ".pickle")] == []
    read_all(run)


def test_a_payload_in_any_file_of_a_checkpoint_is_not_executed(run: Path, tmp_path: Path) -> None:
    mark, whole = tmp_path / "executed", tmp_path / "whole"
    plain = lambda file: file.write_bytes(pickle.dumps(Payload(mark)))  # noqa: E731
    archived = lambda file: torch.save(Payload(mark), file)  # noqa: E731
    shutil.copytree(run, whole)
    names = files_of(run)
    assert len(names) == 7
    for name in names:
        for write in (plain, archived):
            shutil.rmtree(run)
            shutil.copytree(whole, run)
            folder = run / "checkpoints" / "00003"
            write(folder / name)
            if name.name != "inventory.json":
                write_inventory(folder)  # whoever plants it makes it look whole
            with pytest.raises((BadInput, ConfigError, NotASavedState, ValueError, OSError, AssertionError)):
                read_all(run)
            assert not mark.exists(), name


def test_a_pickled_checkpoint_is_refused_with_the_name_of_the_option(run: Path) -> None:
    folder = run / "checkpoints" / "00003"
    (folder / HEAD).rename(folder / OLD_HEAD)
    write_inventory(folder)
    with pytest.raises(BadInput, match=PICKLED):
        read_head(RunFolder(run).last_checkpoint())
    with pytest.raises(BadInput, match=r"--follow .*--resume --trust-pickles"):
        RunFollower(run, load_config(PRESET)).newest()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"updates": -1}',
        '{"format": 2, "updates": 1, "versions": {}, "training_iteration": 1}',
        "[" * 99999,
    ],
)
def test_a_damaged_head_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / HEAD).write_text(text)
    with pytest.raises(BadInput, match=r"checkpoint\.json is damaged"):
        read_head(tmp_path)


def test_a_folder_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"there is no checkpoint\.json"):
        read_head(tmp_path)
