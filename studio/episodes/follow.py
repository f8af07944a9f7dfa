"""The newest weights of a run, from its checkpoints. It only reads, so that the run need not know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollout.config_file import model_source
from rollout.errors import BadInput
from rollout.inventory import damage

if TYPE_CHECKING:
    from learner.weights import WeightUpdate
    from rollout.config import RunConfig

POLICIES = ("actor", "editor")
_ENGINE, _STATE = "engine", "state.json"  # as `learner.learner_rank` writes them


class CheckpointGone(RuntimeError):
    """The run removed a checkpoint while it was read; a newer one is there."""


class RunFollower:
    """Finds checkpoints of a run, and makes updates of what they hold.

    Args:
        run: the run's folder.
        config: its configuration.
    """

    def __init__(self, run: Path, config: RunConfig) -> None:
        self.run, self._config = run, config
        self._sound: dict[Path, bool] = {}

    def newest(self) -> Path | None:
        """The newest checkpoint that is complete and as it was written; None before the first."""
        found = sorted((self.run / "checkpoints").glob("[0-9]*"), reverse=True)
        return next((path for path in found if self._is_sound(path)), None)

    def _is_sound(self, path: Path) -> bool:
        if path not in self._sound:
            try:
                self._sound[path] = (path / "rllib_checkpoint.json").is_file() and damage(path) is None
            except FileNotFoundError:  # it is being removed
                return False
        return self._sound[path]

    def versions(self, checkpoint: Path) -> dict[str, int]:
        """The version of each policy that a checkpoint holds; a policy that has not been trained is left out.

        Raises:
            CheckpointGone: it is not there any more.
        """
        states = {policy: checkpoint / "policies" / policy / _STATE for policy in POLICIES}
        return {policy: self._state(path)["version"] for policy, path in states.items() if path.parent.is_dir()}

    def update(self, checkpoint: Path, policy: str) -> WeightUpdate:
        """What the learner of this policy would send to the replicas, with buckets in local memory. The model that the
        run started from is loaded for it, on the CPU.

        Raises:
            CheckpointGone: it is not there any more.
            WeightMismatch: the weights that were read are not those that the learner saved.
        """
        from learner.learner_rank import new_policy
        from learner.weights import WeightMismatch, pack

        config, folder = self._config, checkpoint / "policies" / policy
        state = self._state(folder / _STATE)
        settings = getattr(config.learner, policy).model_copy(
            update={"kl_coefficient": 0.0, "gpus_per_rank": 0, "gradient_checkpointing": False}
        )
        source = config.models.actor if policy == "actor" else config.models.edits_with
        image = {"image_size": config.diffuser.image_size, **config.editor.model_settings}
        loaded = new_policy(policy, model_source(source), settings, image if policy == "editor" else {})
        try:
            trained = _trained_tensors(folder, settings.zero_stage)
        except FileNotFoundError as error:
            raise CheckpointGone(f"{folder}: the run has removed it") from error
        own = loaded.module.state_dict()
        if unknown := sorted(trained.keys() - own.keys()):
            raise WeightMismatch(f"{folder}: {len(unknown)} tensors are not the model's: {', '.join(unknown[:3])}")
        loaded.module.load_state_dict(trained, strict=False)  # an adapter's checkpoint leaves out what it adapts
        update = pack(policy, state["version"], loaded.weights.tensors(), adapter=loaded.weights.spec())
        if update.manifest.digest != state["digest"]:
            raise WeightMismatch(
                f"{folder}: the weights read from it have digest {update.manifest.digest}, the learner saved "
                f"{state['digest']}"
            )
        return update

    def _state(self, path: Path) -> dict[str, Any]:
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise CheckpointGone(f"{path}: the run has removed it") from error


def _trained_tensors(folder: Path, zero_stage: int) -> Mapping[str, Any]:
    """What DeepSpeed saved of the module, by the module's names; float32 with ZeRO-3."""
    if zero_stage == 3:
        from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

        return get_fp32_state_dict_from_zero_checkpoint(str(folder), tag=_ENGINE, exclude_frozen_parameters=True)
    import torch

    # The run's own file, as the learner itself reads it when it goes on.
    saved = torch.load(folder / _ENGINE / "mp_rank_00_model_states.pt", map_location="cpu", weights_only=False)
    return saved["module"]


def last_versions(run: Path) -> dict[str, int]:
    """The version of each policy after the last update of a run; 0 where it has none.

    Raises:
        BadInput: the run's metrics cannot be read.
    """
    path = run / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    try:
        last = json.loads(lines[-1]) if lines else {}
    except ValueError as error:
        raise BadInput(f"{path}: its last line is no JSON; the run was interrupted, go on with --resume") from error
    return {policy: int(last.get(f"{policy}_version", 0)) for policy in POLICIES}
