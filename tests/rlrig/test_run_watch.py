import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from presets.errors import RunFailed
from reports.status.status import LiveRecord, RunStatus
from rlrig.run_folder import RunFolder
from rlrig.run_watch import RunWatch, process_exists
from rollout.progress import Progress


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[RunStatus] = []
        self.left = 0

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self.left = len(self.told)

    def tell(self, status: RunStatus) -> None:
        self.told.append(status)


def watched(tmp_path: Path, done: int = 0, failures: dict[str, int] | None = None) -> tuple[RunWatch, Progress, Path]:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir(exist_ok=True)
    progress = Progress()
    progress.start("run", [("actor", 2), ("editor", 2)], done)
    return (
        RunWatch(folder, progress, done, {} if failures is None else failures),
        progress,
        folder.path / "progress.json",
    )


def record(path: Path) -> LiveRecord:
    return LiveRecord.model_validate_json(path.read_text())


def test_every_phase_is_written_and_the_end_too(tmp_path: Path) -> None:
    failures: dict[str, int] = {}
    watch, progress, path = watched(tmp_path, failures=failures)
    with watch:
        assert (record(path).state, record(path).phase) == ("running", None)
        with progress.phase("rollout"):
            assert record(path).phase == "rollout"
            assert record(path).phase_since <= record(path).at
        progress.update({"update": 0, "stage": "actor"})
        failures["wandb"] = 2
        progress.note("a replica\n\x1b was lost")
        with progress.phase("learn"):
            written = record(path)
            assert (written.phase, written.done, written.total) == ("learn", 1, 4)
            assert written.logger_failures == {"wandb": 2}
            assert written.seconds_left is not None
            assert process_exists(written) is True
    assert (record(path).state, record(path).phase) == ("finished", None)
    lines = [line.split("UTC  ")[1] for line in (path.parent / "log.txt").read_text().splitlines()]
    assert lines == ["started, 0 of 4 updates are done", "a replica \\x1b was lost", "finished"]
    with progress.phase("report"):
        assert record(path).phase is None  # it is over


@pytest.mark.parametrize(
    ("error", "state", "said"),
    [(RunFailed("disk full\nmore"), "failed", "disk full"), (KeyboardInterrupt(), "interrupted", None)],
)
def test_how_a_run_ended_is_written(tmp_path: Path, error: BaseException, state: str, said: str | None) -> None:
    watch, _, path = watched(tmp_path)
    with pytest.raises(type(error)), watch:
        raise error
    assert (record(path).state, record(path).error) == (state, said)


def test_listeners_hear_all_updates_also_those_before_a_resume_and_how_it_ended(tmp_path: Path) -> None:
    watch, progress, path = watched(tmp_path, done=2)
    lines = [{"update": n, "stage": "actor", "reward_mean": n / 10} for n in range(3)]  # 2 will be done again
    (path.parent / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    watch = RunWatch(RunFolder(path.parent), progress, 2, {})
    listener = Listener()
    with watch:
        watch.inform(listener)
        watch.inform(None)
        progress.update({"update": 2, "stage": "editor", "reward_mean": 0.9})
        with progress.phase("sync"):
            pass
        watch.finished()
    assert listener.told[0].updates == 2
    phases = [status.phase for status in listener.told]
    assert "sync" in phases
    last = listener.told[-1]
    assert (last.state, last.updates, last.total_updates) == ("finished", 3, 4)
    assert last.reward.values == [0.0, 0.1, 0.9]
    assert listener.left == len(listener.told)  # it was left after the last word


def test_a_folder_that_cannot_be_written_to_is_said_once_and_loses_no_run(tmp_path: Path) -> None:
    watch, progress, path = watched(tmp_path)
    with watch:
        path.unlink()
        path.mkdir()  # a file cannot take its place
        for name in ("rollout", "learn"):
            with progress.phase(name):
                pass
    assert len(progress.notes) == 1
    assert "progress.json could not be written, the run goes on" in progress.notes[0]


def test_whether_the_process_still_exists(tmp_path: Path) -> None:
    watch, _, path = watched(tmp_path)
    with watch:
        mine = record(path)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        its = mine.model_copy(update={"pid": other.pid, "pid_started": psutil.Process(other.pid).create_time()})
        assert process_exists(its) is True
        other.kill()
    assert process_exists(its) is False
    assert process_exists(mine.model_copy(update={"pid_started": mine.pid_started - 100})) is False
    assert process_exists(mine.model_copy(update={"host": "elsewhere"})) is None
    assert mine.pid == os.getpid()
