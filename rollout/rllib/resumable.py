"""What an RLlib algorithm of ours writes into a checkpoint, and how it goes on from one."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.utils.annotations import override
from ray.rllib.utils.checkpoints import Checkpointable
from ray.tune import Checkpoint

from presets.run_file import dump_config
from rewards.scales import Scales
from rollout.checkpoint import CheckpointHead, read_head, write_head
from rollout.groups.schedule import saved_scheduler

if TYPE_CHECKING:
    from presets.run_config import RunConfig
    from rollout.groups.stream import GroupStream
    from rollout.learning.policies import Policies
    from rollout.models import Models
    from rollout.scheduling.scheduler import Scheduler
    from rollout.trajectory import Turn

# In a checkpoint: complete groups, what was under way, the run file, the policies.
_BUFFERED, _SCHEDULE, _RUN_FILE, _POLICIES = "buffered", "schedule.json", "config.yaml", "policies"


class ResumableAlgorithm(Algorithm):
    """Saves and restores a run without pickles; RLlib's own way is there for those who ask for it.

    Attributes:
        run: the configuration.
        updates: that are done.
        policies, models, stream: of the run.
    """

    run: RunConfig
    updates: int
    policies: Policies
    models: Models
    stream: GroupStream

    def new_stream(self, scheduler: Scheduler[int, list[Turn]]) -> GroupStream:
        """The stream of groups that a scheduler decides about."""
        raise NotImplementedError

    @override(Algorithm)
    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self.save_to_path(checkpoint_dir)

    @override(Algorithm)
    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self.restore_from_path(checkpoint_dir)

    @override(Checkpointable)
    def save_to_path(self, path: Any = None, *, pickles: bool = False, **kwargs: Any) -> str:
        """Write a checkpoint into a folder: JSON, YAML, safetensors and Parquet.

        Args:
            path: the folder; None makes one in the system's folder for temporary files.
            pickles: write RLlib's own files as well, which hold pickles.
        """
        written = super().save_to_path(path, **kwargs) if pickles else str(path or tempfile.mkdtemp())
        folder = Path(written)
        folder.mkdir(parents=True, exist_ok=True)
        self.policies.save(folder / _POLICIES)
        scheduled = self.stream.save(folder / _BUFFERED)
        (folder / _SCHEDULE).write_text(json.dumps(scheduled), encoding="utf-8")
        (folder / _RUN_FILE).write_text(dump_config(self.run), encoding="utf-8")
        write_head(CheckpointHead(**self.get_state()), folder)
        return written

    @override(Algorithm)
    def restore_from_path(self, path: Any, *args: Any, trust_pickles: bool = False, **kwargs: Any) -> None:
        """Continue from a checkpoint; every replica gets the weights of that time.

        Args:
            trust_pickles: read RLlib's own files in place of ours, which executes what they hold.

        Raises:
            BadInput: the folder is no checkpoint, or one that only `trust_pickles` can read.
        """
        if trust_pickles:
            Checkpointable.restore_from_path(self, path, *args, **kwargs)
        else:
            self.set_state(read_head(Path(path)).model_dump())
        scheduled = json.loads((Path(path) / _SCHEDULE).read_text(encoding="utf-8"))
        self.stream = self.new_stream(saved_scheduler(scheduled, Path(path) / _BUFFERED))
        self.stream.scales = Scales(scheduled.get("scales"))
        self.policies.load(Path(path) / _POLICIES, self.policies.versions, trust_pickles)
        for policy in self.policies.trained():
            self.models.apply_weights(self.policies.learner(policy).weights())

    @classmethod
    @override(Algorithm)
    def from_checkpoint(cls, path: Any, *args: Any, trust_pickles: bool = False, **kwargs: Any) -> Self:
        """An algorithm with the run file of a checkpoint, which goes on from it. Arguments and errors as those of
        `restore_from_path`."""
        if trust_pickles:
            restored: Self = super().from_checkpoint(path, *args, **kwargs)
            return restored
        folder = Path(path.to_directory() if isinstance(path, Checkpoint) else path)
        read_head(folder)
        algorithm: Self = cls.get_default_config().reflection(preset=folder / _RUN_FILE).build_algo()
        try:
            algorithm.restore_from_path(folder)
        except BaseException:
            algorithm.stop()
            raise
        return algorithm

    @override(Algorithm)
    def get_checkpointable_components(self) -> list[tuple[str, Checkpointable]]:
        return []

    @override(Algorithm)
    def get_state(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {
            "updates": self.updates,
            "versions": dict(self.policies.versions),
            "training_iteration": self.training_iteration,
        }

    @override(Algorithm)
    def set_state(self, state: dict[str, Any]) -> None:
        self.updates = state["updates"]
        self.policies.versions = dict(state["versions"])
        self._iteration = state["training_iteration"]
