"""The policies that a run trains: the learner of the one that trains now, the saved state of the other."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learner.ranks import Learner
from learner.saving.atomic_directory import atomic_directory
from learner.saving.pickled import unpickle
from presets.run_file import model_source
from presets.sharing.colocated import is_colocated

if TYPE_CHECKING:
    from ray.actor import ActorHandle

    from presets.run_config import RunConfig
    from rollout.learning.devices import Devices


class Policies:
    """One learner is alive at a time, so that a small machine holds one optimizer; with `learner.keep` those stay that
    have another turn.

    Args:
        config: the run.
        folder: where the states of policies whose learner is closed are kept.
        settle: called before a learner ends whose weights are to stay in use; see `WeightBoard.settle`.
        devices: gives a learner its GPUs while it works.
        editors: the editor's workers, which are the ranks of its learner with `editor.colocated`.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        settle: Callable[[], None],
        devices: Devices,
        editors: Iterable[ActorHandle] = (),
    ) -> None:
        self._config, self._folder, self._settle, self._devices = config, folder, settle, devices
        self._editors = list(editors) if is_colocated(config) else []
        self._learners: dict[str, Learner] = {}
        self.versions = {"actor": 0, "editor": 0}

    def alive(self, policy: str) -> bool:
        """Whether this policy's learner is alive."""
        return policy in self._learners

    def learner(self, policy: str) -> Learner:
        """The learner of a policy: the one that is alive, or a new one that continues from the saved state.

        Raises:
            RunFailed: it is not on the GPUs that it should share.
        """
        if policy in self._learners:
            return self._learners[policy]
        for other in list(self._learners):
            if not (self._config.learner.keep and self._trains_again(other)):
                self._close(other)
        config = self._config
        model = model_source(config.models.actor if policy == "actor" else config.models.edits_with)
        settings: dict[str, Any] = {
            "system_prompt": config.actor_vlm.system_prompt,
            "dialogue": config.dialogue,
            "answer_form": config.rollout.answer_form,
        }
        if policy == "editor":
            size, steps = config.diffuser.size, config.editor.ode_steps
            fixed = {"image_size": size.plain, "steps": steps, "sampler": config.editor.sampler}
            settings = {**fixed, **config.editor.model_settings}
        options = config.placement.actor_options("learner")
        with self._devices.learning():
            lent = self._editors if policy == "editor" else ()
            learner = Learner(policy, model, getattr(config.learner, policy), settings, options, lent)
            self._learners[policy] = learner
            if self.state(policy).exists():
                learner.load(self.state(policy))
            self._devices.prove(learner)
            self._devices.rest(learner)
        return learner

    def trained(self) -> list[str]:
        """The policies that have had an update."""
        return [policy for policy, version in self.versions.items() if version > 0]

    def save(self, folder: Path) -> None:
        """Write the states of all trained policies into `folder`, one subfolder each."""
        for policy in self.trained():
            if (living := self._learners.get(policy)) is not None:
                with self._devices.learning(living):
                    living.save(folder / policy)
            else:
                with atomic_directory(folder / policy) as staging:
                    shutil.copytree(self.state(policy), staging, dirs_exist_ok=True)

    def load(self, folder: Path, versions: dict[str, int], trust_pickles: bool = False) -> None:
        """Take over the states that `save` wrote.

        Args:
            trust_pickles: read those of older versions, too, which executes what they hold.
        """
        self._settle()
        self.abandon()
        self.versions = dict(versions)
        for old in (*map(self.state, versions), *map(self._exported, versions)):
            if old.exists():
                shutil.rmtree(old)
        for policy in self.trained():
            with atomic_directory(self.state(policy)) as staging:
                shutil.copytree(folder / policy, staging, dirs_exist_ok=True)
                if trust_pickles:
                    unpickle(staging)

    def export(self, folder: Path) -> list[Path]:
        """Write every trained policy in the format of its ecosystem: `folder/actor`, `folder/editor`. For one that was
        to have another turn, and whose learner was not kept, that starts again."""
        for policy in sorted(self.trained(), key=lambda policy: policy not in self._learners):
            if self._exported(policy).exists() and policy not in self._learners:
                with atomic_directory(folder / policy) as staging:
                    shutil.copytree(self._exported(policy), staging, dirs_exist_ok=True)
                continue
            learner = self.learner(policy)
            with self._devices.learning(learner):
                learner.export(folder / policy)
        return [folder / policy for policy in self.trained()]

    def abandon(self) -> None:
        """End the learners that are alive without saving."""
        while self._learners:
            _, learner = self._learners.popitem()
            learner.close()

    def _close(self, policy: str) -> None:
        """Save the state of a learner that is alive, and end it. After its last turn its policy is exported, too."""
        learner = self._learners[policy]
        if learner.version > 0:
            with self._devices.learning(learner):
                learner.save(self.state(policy))
                if not self._trains_again(policy):
                    learner.export(self._exported(policy))
        self._settle()
        del self._learners[policy]
        learner.close()

    def _trains_again(self, policy: str) -> bool:
        return policy in self._config.schedule.policies_from(sum(self.versions.values()))

    def state(self, policy: str) -> Path:
        """Where the state of a policy lies whose learner is closed."""
        return self._folder / policy

    def _exported(self, policy: str) -> Path:
        return self._folder / f"{policy}-model"
