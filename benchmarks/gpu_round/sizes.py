"""How large a round is: its models, and what of the preset changes with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmarks.gpu_round import random_models
from benchmarks.tiny_families.__main__ import build as build_tiny
from benchmarks.tiny_families.__main__ import overrides as tiny_overrides
from benchmarks.tiny_families.__main__ import write_records
from presets.places import BASE
from presets.run_config import RunConfig
from presets.run_file import load_config

Size = Literal["tiny", "small", "real"]
Device = Literal["cpu", "cuda"]
PRESET = "one-gpu"
_MADE = "made"  # a file beside models that are complete
_SHORT = {  # nothing may take as long as a first start from a cold cache
    **{f"{role}.start_deadline_s": "300.0" for role in ("editor", "vlm.actor", "learner.actor", "learner.editor")},
    **{f"{role}.call_deadline_s": "200.0" for role in ("editor", "vlm.actor")},
    **{f"learner.{policy}.deadline_s": "200.0" for policy in ("actor", "editor")},
    "rollout.deadline_s": "300.0",
}
_ON_CPU = {
    "editor.gpus": "0",
    "vlm.actor.gpus": "0",
    "learner.actor.gpus_per_rank": "0",
    "learner.editor.gpus_per_rank": "0",
    "placement.share": "[]",
    "editor.cpus": "0.5",
    "learner.actor.cpus_per_rank": "0.5",
    "learner.editor.cpus_per_rank": "0.5",
    "ray.object_store_gib": "0.5",
    "needs": "{cores: 2, memory_gib: 10, disk_gib: 2, gpus: 0}",
}
_SMALL_ENGINE = {"vlm.actor.kv_cache_gib": "0.5", "vlm.actor.image_cache_gib": "0.0625"}
_DEVICES = ("gpus", "gpus_per_rank", "share", "needs")  # last parts of keys that say where a role runs
_STAGES = ("stages", "learner.keep")  # one learner is there at a time


@dataclass(frozen=True)
class Sizing:
    """What a size changes.

    Attributes:
        prompts: drawn; each has a group of answers and edits.
        group: of a prompt.
        changes: of the preset, besides models and data.
    """

    prompts: int
    group: int
    changes: dict[str, str] = field(default_factory=dict)


SIZES: dict[Size, Sizing] = {
    "tiny": Sizing(2, 3),
    "small": Sizing(1, 4, {"diffuser.image_size": "128", **_SMALL_ENGINE}),
    "real": Sizing(4, 8),
}


def build(size: Size, folder: Path, device: Device) -> None:
    """Make the models and the records in `folder`, where they are not there yet."""
    if (folder / _MADE).is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    if size == "tiny":
        build_tiny(PRESET, folder)
    else:
        random_models.build(folder, small=size == "small", device=device)
        write_records(folder / "records.json")
    (folder / _MADE).touch()


def round_config(size: Size, folder: Path, device: Device) -> RunConfig:
    """The one-GPU preset with the models that `build` has made."""
    if size == "tiny":
        given = dict(override.split("=", 1) for override in tiny_overrides(PRESET, folder))
        own = {key: value for key, value in given.items() if key not in _STAGES}
    else:
        models = {"flux": "editor", "checker": "vlm", "actor": "vlm"}
        own = {f"models.{role}": str((folder / name).resolve()) for role, name in models.items()}
        own["data.path"] = str((folder / "records.json").resolve())
    if device == "cuda":
        own = {key: value for key, value in own.items() if key.rpartition(".")[2] not in _DEVICES}
    else:
        own |= _ON_CPU
    changes = {**own, **SIZES[size].changes, **_SHORT}
    return load_config(BASE / "presets" / f"{PRESET}.yaml", [f"{key}={value}" for key, value in changes.items()])
