"""The configuration that is asked for: of a run's folder or of a run file, with which models, to start or to go on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from presets.checks import changed_on_resume
from presets.choice.trained_models import Models, chosen_models
from presets.errors import BadInput
from presets.places import preset_at
from presets.run_file import load_config, load_run_config
from presets.schedule import ended_at, shared_out

if TYPE_CHECKING:
    from presets.run_config import RunConfig


def config_of(run: Path | None, preset: Path, overrides: list[str], data: bool = True) -> RunConfig:
    """The configuration of a run's folder where one is given, else that of the preset; `data` as in `load_config`."""
    if run is None:
        return load_config(preset_at(preset), overrides, data)
    return load_run_config(run, overrides, data=data)


def models_of(
    run: Path | None, preset: Path, overrides: list[str], models: Models | None, data: bool = True
) -> tuple[RunConfig, Path | None, bool]:
    """As `config_of`, for the models that are to be used. Raises as `chosen_models`.

    Returns:
        The configuration, the run whose trained models are to be put in, and whether trained ones that lie beside the
        preset are in it already.
    """
    config = config_of(run, preset, overrides, data)
    if run is not None:
        return config, None if models == "raw" else run, False
    config, versions = chosen_models(config, preset_at(preset), models)
    return config, None, any(versions.values())


def config_to_train(
    preset: Path, overrides: list[str], folder: Path, resume: bool, updates: int | None = None
) -> RunConfig:
    """The configuration of a run that starts in `folder`, or goes on there, with so many updates in all. A run that
    goes on keeps what it has done: its last stage grows or shrinks.

    Raises:
        BadInput: a run file that cannot be used, a folder in which something is, or settings that a run keeps.
    """
    config = config_of(folder if resume else None, preset, overrides)
    if updates is not None:
        stages = (ended_at if resume else shared_out)(config.stages, updates)
        values = config.model_dump(mode="json") | {"stages": [stage.model_dump(mode="json") for stage in stages]}
        config = type(config).model_validate(values)
    if not resume and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"--out {folder}: exists and is not empty; choose another, or go on with --resume")
    if resume and (problems := changed_on_resume(config_of(folder, preset, []), config)):
        raise BadInput("\n".join(problems))
    return config
