"""What a result was made from: a digest of the settings and of the models, wherever they lie."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from experiments.cells import Cell
from experiments.plan import TrainingJob
from presets.run_config import RunConfig
from presets.run_file import load_config

_METHOD = 2  # is raised where the same settings come to train in another way
# What no trained weight depends on: where and how fast a run is done.
_BESIDE = ("evaluation", "checkpoint", "sync", "ray", "needs", "loggers", "placement", "elastic")
_WORKERS = {"workers", "max_workers", "cpus", "gpus", "start_deadline_s", "call_deadline_s"}
# What nothing depends on that is not trained.
_OF_TRAINING = ("seed", "stages", "data", "learner", "rollout", "rewards")
_OF_EXPLORING = {"eta", "sde_window"}


@lru_cache(maxsize=64)
def _folder_digest(folder: Path) -> str:
    """Of the names and contents of a model's files, or of its name alone where it lies on the hub."""
    total = hashlib.sha256()
    if not folder.is_dir():
        total.update(str(folder).encode())
    for path in sorted(path for path in folder.rglob("*") if path.suffix in {".safetensors", ".json", ".txt"}):
        total.update(str(path.relative_to(folder)).encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def settings_digest(config: RunConfig, trained: bool = True) -> str:
    """Of all settings that a result depends on, models by content; without those of training where nothing is trained.
    A setting that has its default counts as one that is not there, so that new ones do not make old results void."""
    values = config.model_dump(
        mode="json",
        exclude_defaults=True,
        exclude={
            **dict.fromkeys((*_BESIDE, *(() if trained else _OF_TRAINING)), True),
            "diffuser": _WORKERS,
            "editor": _WORKERS if trained else _WORKERS | _OF_EXPLORING,
            "vlm": {role: {"model", "image_cache_gib"} for role in ("actor", "checker")},  # models are below, not paths
        },
    )
    if not config.vlm.share:  # what null comes to here is written down, and changes nothing
        values["vlm"].pop("share", None)
    if trained:
        values["method"] = _METHOD
    values["models"] = {name: _folder_digest(Path(path)) for name, path in values["models"].items()}
    return _digest(values)


@lru_cache(maxsize=256)
def _preset_digest(preset: Path, overrides: tuple[str, ...], *, trained: bool) -> str:
    """Each is asked for at every look into the archive."""
    return settings_digest(load_config(preset, list(overrides)), trained)


@dataclass(frozen=True)
class Provenance:
    """Digests of what the jobs and cells of a plan are made from."""

    preset: Path
    judge: Path

    def of_job(self, job: TrainingJob) -> str:
        """Of the run that the job asks for."""
        return _preset_digest(self.preset, job.overrides, trained=True)

    def of_cell(self, cell: Cell) -> str:
        """Of the cell's rows: its training, or the settings without those of training, and how it is evaluated. The
        evaluation itself uses the preset's settings, whatever a job trained with."""
        preset = _preset_digest(self.preset, (), trained=False)
        trained = self.of_job(cell.job) if cell.job else None
        asked = {"prompts": cell.prompts, "count": cell.count, "turns": cell.turns, "policies": cell.arm.policies}
        return _digest([preset, trained, cell.arm.kind, asked, _folder_digest(self.judge)])
