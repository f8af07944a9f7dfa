"""Runs the training jobs, one process each, so that a job that fails or is cut off costs nothing but itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from experiments.plan import TrainingJob
from experiments.provenance import settings_digest
from presets.errors import BadInput, RunFailed
from presets.run_config import RunConfig
from presets.run_file import load_config
from rlrig.run_folder import RunFolder

RLRIG_TRAIN = (sys.executable, "-c", "from rlrig.cli import app; app()", "train")
_KILL_AFTER_S = 60.0


def is_done(folder: Path) -> bool:
    """Whether the job has exported its models."""
    return "models" in (RunFolder(folder).read_json("summary.json") or {})


def run_job(job: TrainingJob, preset: Path, work: Path, deadline_s: float, say: Callable[[str], None]) -> Path:
    """Train, or go on from the last checkpoint, or return at once where it is done. Its output goes to `FOLDER.log`.

    Raises:
        BadInput: the folder holds a run with other settings.
        RunFailed: the job ended with an error, or took longer than `deadline_s` seconds; it can be resumed.
    """
    folder = work / job.folder
    if (folder / "config.yaml").is_file():
        _check_settings(folder, load_config(preset, list(job.overrides)))
    if is_done(folder):
        return folder
    command = [*RLRIG_TRAIN]
    if folder.exists() and RunFolder(folder).checkpoints():
        command += ["--resume", "--out", str(folder), "--quiet"]
    else:
        shutil.rmtree(folder, ignore_errors=True)  # it was cut off before its first checkpoint
        settings = [part for override in job.overrides for part in ("--set", override)]
        command += [str(preset), *settings, "--out", str(folder), "--quiet"]
    log = work / f"{job.folder}.log"
    say(f"{job.folder}: {'going on' if '--resume' in command else 'training'}, log {log}")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        try:
            code = process.wait(deadline_s)
        except subprocess.TimeoutExpired as error:
            raise RunFailed(f"{job.folder}: not done after {deadline_s:.0f} s; see {log}, and start again") from error
        finally:
            if process.poll() is None:
                _stop(process)
    if code != 0:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise RunFailed(f"{job.folder}: ended with exit code {code}: {' '.join(last)}; see {log}")
    return folder


def _check_settings(folder: Path, asked: RunConfig) -> None:
    if settings_digest(load_config(folder / "config.yaml")) != settings_digest(asked):
        raise BadInput(f"{folder}: holds a run with other settings or models; remove it, or name another --work")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Interrupt the job, which then stops its own workers, and kill its group if it does not."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_KILL_AFTER_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(_KILL_AFTER_S)
