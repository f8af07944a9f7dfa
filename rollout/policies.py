"""The policies that a run trains: the learner of the one that trains now, the saved state of the other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from learner.checkpoint import atomic_directory
from learner.deepspeed_learner import Learner
from rollout.config_file import model_source

if TYPE_CHECKING:
    from rollout.config import RunConfig


class Policies:
    """At most one learner is alive at a time, so that a small machine holds one optimizer.

    Args:
        config: the run.
        folder: where the states of policies whose learner is closed are kept.
        settle: called before a learner ends whose weights are to stay in use; see `WeightBoard.settle`.
    """

    def __init__(self, config: RunConfig, folder: Path, settle: Callable[[], None]) -> None:
        self._config, self._folder, self._settle = config, folder, settle
        self._learner: Learner | None = None
        self.versions = {"actor": 0, "editor": 0}

    def alive(self, policy: str) -> bool:
        """Whether the learner that is alive is this policy's."""
        return self._learner is not None and self._learner.policy == policy

    def learner(self, policy: str) -> Learner:
        """The learner of a policy: the one that is alive, or a new one that continues from the saved state."""
        if self.alive(policy):
            return self._learner
        self.close()
        config = self._config
        model = model_source(config.models.actor if policy == "actor" else config.models.edits_with)
        settings = {"image_size": config.diffuser.image_size, **config.editor.model_settings}
        settings = settings if policy == "editor" else None
        options = config.placement.actor_options("learner")
        self._learner = Learner(policy, model, getattr(config.learner, policy), settings, options)
        if self._state(policy).exists():
            self._learner.load(self._state(policy))
        return self._learner

    def trained(self) -> list[str]:
        """The policies that have had an update."""
        return [policy for policy, version in self.versions.items() if version > 0]

    def save(self, folder: Path) -> None:
        """Write the states of all trained policies into `folder`, one subfolder each."""
        for policy in self.trained():
            if self.alive(policy):
                self._learner.save(folder / policy)
            else:
                with atomic_directory(folder / policy) as staging:
                    shutil.copytree(self._state(policy), staging, dirs_exist_ok=True)

    def load(self, folder: Path, versions: dict[str, int]) -> None:
        """Take over the states that `save` wrote."""
        self._settle()
        self.abandon()
        self.versions = dict(versions)
        for policy in self.trained():
            with atomic_directory(self._state(policy)) as staging:
                shutil.copytree(folder / policy, staging, dirs_exist_ok=True)

    def export(self, folder: Path) -> list[Path]:
        """Write every trained policy in the format of its ecosystem: `folder/actor`, `folder/editor`."""
        for policy in self.trained():
            if not self.alive(policy):
                with atomic_directory(folder / policy) as staging:
                    shutil.copytree(self._exported(policy), staging, dirs_exist_ok=True)
            else:
                self._learner.export(folder / policy)
        return [folder / policy for policy in self.trained()]

    def close(self) -> None:
        """Save the state of the learner that is alive, export its policy, and end it."""
        if self._learner is not None and self._learner.version > 0:
            self._learner.save(self._state(self._learner.policy))
            self._learner.export(self._exported(self._learner.policy))
        self._settle()
        self.abandon()

    def abandon(self) -> None:
        """End the learner that is alive without saving."""
        if self._learner is not None:
            self._learner.close()
            self._learner = None

    def _state(self, policy: str) -> Path:
        return self._folder / policy

    def _exported(self, policy: str) -> Path:
        return self._folder / f"{policy}-model"
