"""The rollout worker: an RLlib EnvRunner whose environment is the Generate-Reflect-Edit loop."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import pyarrow as pa
from ray.rllib.env.env_runner import EnvRunner

from rewards.reward import Reward
from rollout.groups.job import Drawn, Job
from rollout.groups.sampler import GroupSampler
from rollout.incidents import Incidents
from rollout.trajectory import to_table

if TYPE_CHECKING:
    from presets.run_config import RunConfig
    from rollout.models import Models


class ReflectEditRunner(EnvRunner):
    """Samples groups of trajectories with the models whose handles come with each job.

    It holds no weights and no other state, so that a restarted runner needs nothing before its next job. It keeps the
    scorers that run in it, which are made by its first one.
    """

    _reward: Reward | None = None

    def __repr__(self) -> str:
        return f"EnvRunner-{self.worker_index}"  # in Ray's dashboard and logs

    def assert_healthy(self) -> None:
        """RLlib's check that the constructor has finished."""
        assert self.config is not None

    def sample(self, *, job: Job, models: Models, run: RunConfig, **_: Any) -> pa.Table | Drawn:
        """All turns of a job, as a trajectory table (`rollout.trajectory.SCHEMA`), and beside it its `Incidents`; or
        its first images, where these are all that is asked for."""
        before = Incidents.so_far(models)
        if self._reward is None or not self._reward.fits(run.rollout, run.rewards):
            self._reward = Reward(run.rollout, run.rewards)
        self._reward.fleets = models.scorers
        sampler = GroupSampler(models, run.rollout, run.editor, self._reward, run.learner.editor.algorithm)
        if job.ahead:
            return replace(sampler.draw(job), incidents=Incidents.so_far(models) - before)
        table = to_table(sampler.sample(job))
        return (Incidents.so_far(models) - before).put_beside(table)

    def get_spaces(self) -> dict[str, tuple[gym.Space, gym.Space]]:
        """What RLlib asks of every runner: an observation is an image, an action an edit prompt."""
        image = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
        return {"__env__": (image, gym.spaces.Text(1024)), "__env_single__": (image, gym.spaces.Text(1024))}

    def get_metrics(self) -> dict[str, Any]:
        """Nothing of its own: the driver measures on the trajectories."""
        return {}

    def get_state(self, *_: Any, **__: Any) -> dict[str, Any]:
        """No state."""
        return {}

    def set_state(self, state: dict[str, Any], **_: Any) -> None:
        """Nothing to set; RLlib calls this after a restart."""
