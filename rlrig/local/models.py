"""The four models of an episode in this process, loaded one after the other."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


@dataclass(frozen=True)
class LocalModels:
    """`rollout.episode.Players` without a process of their own."""

    diffuser: Drawer
    editor: InverseDiffuser
    actor: Actor
    checker: Checker | OwnChecker


TITLES = {"editor": "Inverse Diffuser", "diffuser": "Diffuser", "actor": "Actor", "checker": "Checker"}


def load_models(config: RunConfig, progress: Progress) -> LocalModels:
    """Load what `rollout.models.start_models` would start, with the same settings. Models that lie in the same folder
    and answer alike are loaded once. On return each can be asked.

    Raises:
        ModelLoadError, VlmError: a model folder is damaged.
        WeightMismatch: an adapter belongs to other weights.
    """
    roles = roles_to_load(config)
    loaded: dict[str, Any] = {}
    for number, role in enumerate(roles, 1):
        progress.note(f"loading, {number} of {len(roles)}: {TITLES[role]}")
        loaded[role] = load_role(config, role)
    checker = loaded.get("checker") or shared_checker(config, loaded["actor"])
    dialogue, judge = config.dialogue, config.rollout.checker
    return LocalModels(
        loaded.get("diffuser") or loaded["editor"],
        loaded["editor"],
        Actor(loaded["actor"], dialogue),
        new_checker(judge, checker, dialogue, config.rollout.least_mass),
    )


def roles_to_load(config: RunConfig) -> list[str]:
    """The roles that have a model of their own, in the order in which they are loaded."""
    own = {
        "editor": True,
        "diffuser": not config.diffuser.share,
        "actor": True,
        "checker": "checker" in config.vlms and not _same_vlm(config),
    }
    return [role for role, has in own.items() if has]


def load_role(config: RunConfig, role: str, version: int = 1) -> Any:
    """The model of one role: a `Diffuser`, an `InverseDiffuser` or a `LocalVlm`. `version` is what the weights of an
    adapter beside it are called.

    Raises:
        ModelLoadError, VlmError, WeightMismatch: see `load_models`.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if role in ("actor", "checker"):
        from serving.local.vlm import LocalVlm

        return LocalVlm(role, config.vlms[role], _adapter(config, "actor", version) if role == "actor" else None)
    return _editor(config, version) if role == "editor" else _diffuser(config)


def shared_checker(config: RunConfig, actor: LocalVlm) -> LocalVlm:
    """The Checker of a run whose Actor's model is it, too."""
    return (actor.beside if _same_vlm(config) else actor.shared)("checker", config.vlm.checker)


def _same_vlm(config: RunConfig) -> bool:
    """Whether the Checker is a deployment of its own that answers as the Actor's model would."""
    models = config.models
    return "checker" in config.vlms and models.checker == models.actor and "actor" not in models.adapters


def _diffuser(config: RunConfig) -> Drawer:
    from actors.diffuser import Diffuser

    settings = config.diffuser.worker_arguments(model_source(config.models.flux), config.diffuser.size)
    return Diffuser(steps=config.diffuser.steps, **settings)


def _editor(config: RunConfig, version: int) -> InverseDiffuser:
    from actors.inverse_diffuser import InverseDiffuser

    settings = config.editor.worker_arguments(model_source(config.models.edits_with), config.diffuser.size)
    editor = InverseDiffuser(steps=config.editor.ode_steps, draw_steps=config.diffuser.steps, **settings)
    if (adapter := _adapter(config, "editor", version)) is not None:
        editor.apply_weights(adapter)
    return editor


def _adapter(config: RunConfig, policy: Stage, version: int) -> WeightUpdate | None:
    from weights.adapter_folder import adapter_update

    folder = config.models.adapters.get(policy)
    return None if folder is None else adapter_update(Path(folder), policy, version)
