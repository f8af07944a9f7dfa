"""Whether a run's models can be in the process of the command: by settings and file sizes, nothing is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from presets.run_config import RunConfig

MOST_BYTES = 10**9
"""Weights of all models together that are small enough."""


def why_on_ray(config: RunConfig) -> str | None:
    """Why these models need Ray and vLLM: the first thing that says so, with its key; None where they do not."""
    return next(_reasons(config), None)


def _reasons(config: RunConfig) -> Iterator[str]:
    if config.ray.address is not None:
        yield f"ray.address is {config.ray.address}"
    vlms = {f"vlm.{role}": settings for role, settings in config.vlms.items()}
    gpus = {"diffuser": config.diffuser.gpus, "editor": config.editor.gpus} | {key: vlms[key].gpus for key in vlms}
    for key, count in gpus.items():
        if count:
            yield f"{key}.gpus is {count:g}"
    if config.rollout.answer_form is not None:
        yield "rollout.answer_form is set"
    for key, vlm in vlms.items():
        if vlm.dtype != "float32":
            yield f"{key}.dtype is {vlm.dtype}"
        if vlm.engine:
            yield f"{key}.engine is set"
    if "actor" in config.models.adapters and config.vlm.actor.adapter == "merged":
        yield "vlm.actor.adapter is merged"
    models = config.models
    folders = {
        "models.flux": models.flux,
        "models.editor": models.edits_with,
        "models.actor": models.actor,
        "models.checker": models.checker,
    }
    for key, folder in folders.items():
        if not Path(folder).is_dir():
            yield f"{key} is {folder}"
    size = sum(_weights(Path(folder)) for folder in set(folders.values()))
    if size > MOST_BYTES:
        yield f"the models have {size / 1e9:.1f} GB, more than {MOST_BYTES / 1e9:g} GB"


def _weights(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
