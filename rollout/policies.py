"""The policies that a run trains: the learner of the one that trains now, the saved state of the other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learner.ranks import Learner
from learner.saving.atomic_directory import atomic_directory
from learner.saving.pickled import unpickle
from presets.run_file import model_source

if TYPE_CHECKING:
    from presets.run_config import RunConfig


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
        return self._living(policy) is not None

    def learner(self, policy: str) -> Learner:
        """The learner of a policy: the one that is alive, or a new one that continues from the saved state."""
        if (living := self._living(policy)) is not None:
            return living
        self.close()
        config = self._config
        model = model_source(config.models.actor if policy == "actor" else config.models.edits_with)
        settings: dict[str, Any] = {
            "system_prompt": config.actor_vlm.system_prompt,
            "dialogue": config.dialogue,
            "answer_form": config.rollout.answer_form,
        }
        if policy == "editor":
            size, steps = config.diffuser.image_size, config.editor.ode_steps
            settings = {"image_size": size, "steps": steps, **config.editor.model_settings}
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
            if (living := self._living(policy)) is not None:
                living.save(folder / policy)
            else:
                with atomic_directory(folder / policy) as staging:
                    shutil.copytree(self._state(policy), staging, dirs_exist_ok=True)

    def load(self, folder: Path, versions: dict[str, int], trust_pickles: bool = False) -> None:
        """Take over the states that `save` wrote.

        Args:
            trust_pickles: read those of older versions, too, which executes what they hold.
        """
        self._settle()
        self.abandon()
        self.versions = dict(versions)
        for policy in self.trained():
            with atomic_directory(self._state(policy)) as staging:
                shutil.copytree(folder / policy, staging, dirs_exist_ok=True)
                if trust_pickles:
                    unpickle(staging)

    def export(self, folder: Path) -> list[Path]:
        """Write every trained policy in the format of its ecosystem: `folder/actor`, `folder/editor`."""
        for policy in self.trained():
            if (living := self._living(policy)) is not None:
                living.export(folder / policy)
            else:
                with atomic_directory(folder / policy) as staging:
                    shutil.copytree(self._exported(policy), staging, dirs_exist_ok=True)
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

    def _living(self, policy: str) -> Learner | None:
        """The learner that is alive, if it is this policy's."""
        return self._learner if self._learner is not None and self._learner.policy == policy else None

    def _state(self, policy: str) -> Path:
        return self._folder / policy

    def _exported(self, policy: str) -> Path:
        return self._folder / f"{policy}-model"
