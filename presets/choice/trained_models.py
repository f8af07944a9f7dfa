"""The models that a run has trained, in the place of those that it started from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from presets.errors import BadInput
from presets.run_file import load_config
from presets.settings import HUB_PREFIX

if TYPE_CHECKING:
    from presets.run_config import RunConfig

Models = Literal["trained", "raw"]
UNTRAINED = {"actor": 0, "editor": 0}
"""Versions of weights that no run has trained."""


def chosen_models(config: RunConfig, preset: Path, models: Models | None) -> tuple[RunConfig, dict[str, int]]:
    """A run file's models, trained ones where some lie beside it in `trained/`, and the versions of both policies.

    Args:
        config: the run file with the user's settings.
        preset: the run file.
        models: None takes trained ones where there are some and where no setting names other models.

    Raises:
        BadInput: trained ones are asked for, and there are none or a setting names other models.
    """
    folder = preset.resolve().parent / "trained"
    made = folder / "made.json"
    found = json.loads(made.read_text(encoding="utf-8")) if made.is_file() else {}
    if models == "raw" or (models is None and found.get("run_file") != preset.name):
        return config, dict(UNTRAINED)
    if found.get("run_file") != preset.name:
        raise BadInput(f"--models trained: {preset} has no trained models beside it; give a run, or leave it out")
    if config.models != load_config(preset, [], data=False).models:
        if models is None:
            return config, dict(UNTRAINED)
        raise BadInput("--models trained: --set models.… names other models; leave one of them out")
    return trained_models(config, folder), dict(found["versions"])


def trained_models(config: RunConfig, run_dir: Path | None) -> RunConfig:
    """The configuration with a run's trained models in the place of those that it started from. What the run trained as
    an adapter stays one, beside the model that it belongs to, where that is still there: added to weights of a coarse
    number format, most of it would be lost.

    The Diffuser stays the preset's: a run's `models/editor` is a whole pipeline whose transformer is the editor's.

    Raises:
        BadInput: the run has no trained models, or says nonsense about an adapter.
    """
    if run_dir is None:
        return config
    models = {policy: run_dir / "models" / policy for policy in ("actor", "editor")}
    found = {policy: path.resolve() for policy, path in models.items() if path.is_dir()}
    if not found:
        raise BadInput(f"--run {run_dir}: holds neither models/actor nor models/editor; the run has not finished")
    values = config.model_dump(mode="json")
    values["vlm"]["share"] = None  # other models are there now
    for policy, folder in found.items():
        base = _put_beside(values, policy, folder / "lora")
        values["models"][policy] = base or str(folder)
    if "actor" in found:
        values["vlm"]["actor"]["model"] = values["models"]["actor"].removeprefix(HUB_PREFIX)
    return type(config).model_validate(values)


def _put_beside(values: dict[str, Any], policy: str, lora: Path) -> str | None:
    """Put the adapter in this folder into the configuration and return the model that it belongs to; None where there
    is none, where its model is gone, or where the Actor's engine is to hold merged weights."""
    if not lora.is_dir() or (policy == "actor" and values["vlm"]["actor"]["adapter"] == "merged"):
        return None
    from weights.adapter_folder import AdapterFolder  # it loads torch

    try:
        adapter = AdapterFolder.read(lora)
    except ValueError as error:
        raise BadInput(f"--run: {error}") from error
    if adapter is None or (adapter.base.startswith("/") and not Path(adapter.base).is_dir()):
        return None
    spec = adapter.spec
    ends = sorted({target.module.rpartition(".")[2] for target in spec.targets})
    values["models"]["adapters"][policy] = str(lora)
    values["learner"][policy]["lora"] = {"rank": spec.rank, "alpha": spec.alpha, "target_modules": ends}
    return adapter.base if adapter.base.startswith("/") else f"{HUB_PREFIX}{adapter.base}"
