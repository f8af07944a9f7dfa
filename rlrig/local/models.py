"""The four models of an episode in this process, loaded one after the other."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from presets.run_file import model_source
from serving.actor import Actor
from serving.checker import Checker
from serving.own_checker import OwnChecker, new_checker

if TYPE_CHECKING:
    from actors.inverse_diffuser import InverseDiffuser
    from actors.model_families import Drawer
    from presets.run_config import RunConfig
    from presets.schedule import Stage
    from rollout.progress import Progress
    from serving.local.vlm import LocalVlm
    from weights.manifest import WeightUpdate

_Model = TypeVar("_Model")


@dataclass(frozen=True)
class LocalModels:
    """`rollout.episode.Players` without a process of their own."""

    diffuser: Drawer
    editor: InverseDiffuser
    actor: Actor
    checker: Checker | OwnChecker


def load_models(config: RunConfig, progress: Progress) -> LocalModels:
    """Load what `rollout.models.start_models` would start, with the same settings. Models that lie in the same folder
    and answer alike are loaded once. On return each can be asked.

    Raises:
        ModelLoadError, VlmError: a model folder is damaged.
        WeightMismatch: an adapter belongs to other weights.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    vlms, models = config.vlms, config.models
    same_vlm = "checker" in vlms and models.checker == models.actor and "actor" not in models.adapters
    own_diffuser, own_checker = not config.diffuser.share, "checker" in vlms and not same_vlm
    count, loaded = 2 + own_diffuser + own_checker, 0

    def load(name: str, make: Callable[[], _Model]) -> _Model:
        nonlocal loaded
        loaded += 1
        progress.note(f"loading, {loaded} of {count}: {name}")
        return make()

    editor = load("Inverse Diffuser", lambda: _editor(config))
    diffuser: Drawer = load("Diffuser", lambda: _diffuser(config)) if own_diffuser else editor
    actor = load("Actor", lambda: _vlm(config, "actor"))
    if own_checker:
        checker = load("Checker", lambda: _vlm(config, "checker"))
    else:
        checker = actor.beside("checker", vlms["checker"]) if same_vlm else actor.shared("checker", config.vlm.checker)
    dialogue, judge = config.dialogue, config.rollout.checker
    return LocalModels(
        diffuser, editor, Actor(actor, dialogue), new_checker(judge, checker, dialogue, config.rollout.least_mass)
    )


def _diffuser(config: RunConfig) -> Drawer:
    from actors.diffuser import Diffuser

    settings = config.diffuser.worker_arguments(model_source(config.models.flux), config.diffuser.image_size)
    return Diffuser(steps=config.diffuser.steps, **settings)


def _editor(config: RunConfig) -> InverseDiffuser:
    from actors.inverse_diffuser import InverseDiffuser

    settings = config.editor.worker_arguments(model_source(config.models.edits_with), config.diffuser.image_size)
    editor = InverseDiffuser(steps=config.editor.ode_steps, draw_steps=config.diffuser.steps, **settings)
    if (adapter := _adapter(config, "editor")) is not None:
        editor.apply_weights(adapter)
    return editor


def _vlm(config: RunConfig, role: str) -> LocalVlm:
    from serving.local.vlm import LocalVlm

    return LocalVlm(role, config.vlms[role], _adapter(config, "actor") if role == "actor" else None)


def _adapter(config: RunConfig, policy: Stage) -> WeightUpdate | None:
    from weights.adapter_folder import adapter_update

    folder = config.models.adapters.get(policy)
    return None if folder is None else adapter_update(Path(folder), policy, version=1)
