"""The newest weights of a run, from its checkpoints. It only reads, so that the run need not know."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from presets.errors import BadInput
from presets.run_file import model_source
from rollout.checkpoint import HEAD, OLD_HEAD, TRUST
from weights.inventory import damage

if TYPE_CHECKING:
    from presets.run_config import RunConfig
    from weights.manifest import WeightUpdate

POLICIES = ("actor", "editor")
_ENGINE, _SENT, _STATE = "engine", "sent", "state.json"  # as `learner.rank` writes them


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
        """The newest checkpoint that is complete and as it was written; None before the first.

        Raises:
            BadInput: the run has only checkpoints whose state is pickled.
        """
        found = sorted((self.run / "checkpoints").glob("[0-9]*"), reverse=True)
        newest = next((path for path in found if self._is_sound(path)), None)
        if newest is None and any((path / OLD_HEAD).is_file() for path in found):
            raise BadInput(
                f"--follow {self.run}: its checkpoints are pickled, as older versions wrote them, and reading one "
                f"would execute what it holds; `rlrig train --resume {TRUST} --out {self.run}` goes on from them and "
                "writes new ones"
            )
        return newest

    def _is_sound(self, path: Path) -> bool:
        if path not in self._sound:
            try:
                self._sound[path] = (path / HEAD).is_file() and damage(path) is None
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
        """What the learner of this policy would send to the replicas, or the average where it keeps one, with buckets
        in local memory. The model that the run started from is loaded for it, on the CPU.

        Raises:
            CheckpointGone: it is not there any more.
            WeightMismatch: the weights that were read are not those that the learner saved.
        """
        from learner.average import averaged_update, read_average
        from learner.policy import new_policy
        from learner.saving.state import NotASavedState
        from weights.manifest import WeightMismatch, pack

        config, folder = self._config, checkpoint / "policies" / policy
        state = self._state(folder / _STATE)
        settings = getattr(config.learner, policy).model_copy(
            update={"kl_coefficient": 0.0, "gpus_per_rank": 0, "gradient_checkpointing": False}
        )
        source = config.models.actor if policy == "actor" else config.models.edits_with
        image = {"image_size": config.diffuser.size.plain, **config.editor.model_settings}
        loaded = new_policy(policy, model_source(source), settings, image if policy == "editor" else {})
        try:
            if settings.zero_stage == 3:
                tensors = _sent_tensors(folder, list(loaded.weights.tensors()))
            else:
                trained = _module_tensors(folder)
                own = loaded.module.state_dict()
                if unknown := sorted(trained.keys() - own.keys()):
                    raise WeightMismatch(
                        f"{folder}: {len(unknown)} tensors are not the model's: {', '.join(unknown[:3])}"
                    )
                loaded.module.load_state_dict(trained, strict=False)  # an adapter's leaves out what it adapts
                tensors = loaded.weights.tensors()
        except FileNotFoundError as error:
            raise CheckpointGone(f"{folder}: the run has removed it") from error
        except NotASavedState as error:
            raise WeightMismatch(str(error)) from error
        update = pack(policy, state["version"], tensors, adapter=loaded.weights.spec())
        if update.manifest.digest != state["digest"]:
            raise WeightMismatch(
                f"{folder}: the weights read from it have digest {update.manifest.digest}, the learner saved "
                f"{state['digest']}"
            )
        average = read_average(folder)
        return update if average is None else averaged_update(update, average)

    def _state(self, path: Path) -> dict[str, Any]:
        try:
            state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise CheckpointGone(f"{path}: the run has removed it") from error
        return state


def _module_tensors(folder: Path) -> Mapping[str, Any]:
    """What the engine of rank 0 saved of the module, by the module's names."""
    from learner.saving.state import read_state

    state: Mapping[str, Any] = read_state(folder / _ENGINE / "mp_rank_00_model_states.safetensors")
    tensors: Mapping[str, Any] = state["module"]
    return tensors


def _sent_tensors(folder: Path, names: Sequence[str]) -> Mapping[str, Any]:
    """The weights as they are sent, in the learner's order, which one that splits them over its ranks saves besides."""
    from safetensors.torch import load_file

    from weights.manifest import WeightMismatch

    files = sorted((folder / _SENT).glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(folder / _SENT)
    sent = {name: tensor for file in files for name, tensor in load_file(file).items()}
    if other := sorted(sent.keys() ^ set(names)):
        raise WeightMismatch(f"{folder}: {len(other)} tensors are not those that are sent: {', '.join(other[:3])}")
    return {name: sent[name] for name in names}


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
