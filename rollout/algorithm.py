"""ReflectionGRPO as an RLlib algorithm: sample groups, learn, give the new weights to those who use them."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.utils.annotations import override
from ray.tune import PlacementGroupFactory

from learner.ranks import Learner
from presets.checks import refuse_adapters
from presets.errors import RunFailed
from presets.places import TINY
from presets.planning.trial_bundles import trial_bundles
from presets.run_config import RunConfig
from presets.schedule import Schedule
from presets.truth.source import truth_source
from rollout.elastic.steering import Elastic
from rollout.env_runner import ReflectEditRunner
from rollout.groups.batches import actor_samples, editor_samples, scaled_by_batch
from rollout.groups.job import Drawn, Job
from rollout.groups.rejection import poisoned
from rollout.groups.schedule import new_scheduler
from rollout.groups.stream import GroupStream
from rollout.learning.devices import Devices
from rollout.learning.policies import Policies
from rollout.local_ray import ray_of_library
from rollout.models import Models, ModelStart
from rollout.progress import Progress
from rollout.prompts import load_prompts
from rollout.rllib.config import RunFileConfig
from rollout.rllib.resumable import ResumableAlgorithm
from rollout.scheduling.scheduler import Scheduler
from rollout.trajectory import Turn
from rollout.update_record import numbers_of, update_record
from rollout.watching.live_metrics import LiveMetrics
from weights.manifest import WeightsLost

_POLL_S = 0.2


class ReflectionGRPOConfig(RunFileConfig):
    """RLlib's configuration of ReflectionGRPO; what the run itself does stands in a preset.

    `ReflectionGRPOConfig().reflection(preset="presets/tiny/run.yaml", overrides=["rollout.turns=1"]).build_algo()`.
    """

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or ReflectionGRPO)
        self._prior_exploration_config: dict[str, Any] = {}  # of RLlib's own policies; it warns where it finds none
        self.api_stack(enable_rl_module_and_learner=False, enable_env_runner_and_connector_v2=True)
        self.fault_tolerance(restart_failed_env_runners=True)
        self.num_gpus = 0
        self.reflection(preset=TINY, overrides=[])


class ReflectionGRPO(ResumableAlgorithm):
    """One `train()` is one weight update of the policy whose turn it is.

    `last_update` holds everything about the last one, also what is no number; `last_turns` its trajectories. With
    `ray_ends` set, `stop` leaves the models to the end of the Ray that they run in.
    """

    models: Models
    policies: Policies
    elastic: Elastic
    schedule: Schedule

    def __init__(self, config: Any = None, *, progress: Progress | None = None, **kwargs: Any) -> None:
        self.progress = progress or Progress()
        self.ray_ends = False
        self._given = (
            config if isinstance(config, RunFileConfig) else self.get_default_config().update_from_dict(config or {})
        )
        ray_of_library(self._given.run_config)
        super().__init__(config=config, **kwargs)

    @classmethod
    @override(Algorithm)
    def get_default_config(cls) -> ReflectionGRPOConfig:
        return ReflectionGRPOConfig()

    @override(Algorithm)
    def setup(self, config: Any) -> None:
        refuse_adapters(self._given.run_config)
        start = ModelStart(self._given.run_config)  # RLlib's EnvRunners load meanwhile
        try:
            super().setup(config)
            self._prepare()
        except BaseException:
            start.abandon()
            raise
        self.models = start.finish(self.progress)
        self.devices = Devices(self.run, self.models, self.progress, self._let_settle)
        self.devices.prove()
        editors, settle = self.models.editor.handles.values(), self.models.board.settle
        self.policies = Policies(self.run, self.folder / "policies", settle, self.devices, editors)
        self.stream = self.new_stream(new_scheduler(self.run.rollout))
        self.elastic = Elastic(self.run, self.models, self.env_runner_group, lambda: self.stream, self.progress.note)

    def _prepare(self) -> None:
        """Everything that needs no model."""
        self.run: RunConfig = self.config.run_config
        self.schedule = self.run.schedule
        self.prompts = load_prompts(self.run.data, self.run.seed)
        for note in self.prompts.notes:
            self.progress.note(note)
        self.updates = 0
        self.last_update: dict[str, Any] = {}
        self.last_turns: list[Turn] = []
        self.folder = Path(self.config.folder or self.logdir)
        self.name = self.folder.parent.name if self.config.folder else self.folder.name
        self.live = LiveMetrics(self.name)
        self.progress.watchers.append(self.live.phase)

    def new_stream(self, scheduler: Scheduler[int, list[Turn]]) -> GroupStream:
        """The stream of groups that a scheduler decides about."""
        return GroupStream(
            self.env_runner_group._worker_manager,
            scheduler,
            self.prompts.at,
            partial(_sample, models=self.models, run=self.run),
            self.name,
            self.run.seed,
            self.run.rollout,
        )

    @classmethod
    @override(Algorithm)
    def default_resource_request(cls, config: Any) -> PlacementGroupFactory:
        """See `trial_bundles`."""
        settings = cls.get_default_config().update_from_dict(config)
        return trial_bundles(settings, settings.run_config)

    @property
    def stage(self) -> str:
        """The policy that the next update trains; after the last stage its policy goes on."""
        return self.schedule[min(self.updates, len(self.schedule) - 1)]

    @override(Algorithm)
    def training_step(self) -> None:
        stage, started = self.stage, time.monotonic()
        self.stream.draws_ahead = not self.devices.in_turns and self.updates + 1 < len(self.schedule)
        if not self.devices.in_turns:
            self._pump(stage)  # the first prompts are sampled while the learner starts
        if not self.policies.alive(stage):
            self.elastic.make_room()
        with self.progress.phase("start learner"):
            learner = self.policies.learner(stage)
        with self.progress.phase("rollout"):
            turns, late, early = self._collect(stage, learner)
        with self.devices.learning(learner):
            began = time.monotonic()
            with self.progress.phase("learn"):
                learner.add(late)
                stats = learner.update(meanwhile=lambda: self._pump(stage))
                self.policies.versions[stage] = stats.version
            learned = time.monotonic()
            with self.progress.phase("sync"):
                update = learner.weights(stats.version)
            packed = time.monotonic()
        received = time.monotonic()
        with self.progress.phase("sync"):
            try:
                receipts = self.models.apply_weights(update)
            except WeightsLost:
                learner.weights(stats.version)  # says what became of the learner, and where
                raise
            self.stream.trained()
        synced = time.monotonic()
        self.last_turns = turns
        self.last_update = update_record(
            self.updates,
            stage,
            turns,
            early,
            self.policies.versions,
            stats,
            update,
            receipts,
            self.stream,
            self.models,
            self.elastic.workers(),
            {"learn": learned - began, "sync": packed - learned + synced - received, **self.devices.seconds()},
            truth=truth_source(self.run),
            rewards=self.run.rewards,
        )
        self.last_update["seconds_total"] = time.monotonic() - started
        self.updates += 1
        self.live.update(self.last_update)
        for key, value in numbers_of(self.last_update):
            self.metrics.log_value(key, value, reduce="mean", window=1)

    def _collect(self, stage: str, learner: Learner) -> tuple[list[Turn], list[Any], int]:
        """The turns of one update, those of prompts without a signal included; the samples that the learner has not got
        yet; and the number of prompts that it began on while others were sampled.

        Raises:
            RunFailed: see `GroupStream.pump`; or too many members were rejected.
        """
        whole_ones = partial(actor_samples, truncated=self.run.rollout.learn_truncated)
        samples = whole_ones if stage == "actor" else editor_samples
        given: set[int] = set()  # prompts
        by_batch = self.run.rollout.advantage_scale == "batch"  # advantages are complete with the update
        while not self.stream.ready:
            if not (self.devices.in_turns or by_batch):
                settled = self.stream.settled()
                learner.add(samples(settled))
                given |= {turn.prompt for turn in settled}
            self._pump(stage, _POLL_S)
        used, dropped = self.stream.take(self.updates)
        used = scaled_by_batch(used) if by_batch else used
        rejected = poisoned(used + dropped)
        share = sum(rejected.values()) / len(used + dropped)
        if share > self.run.rollout.max_rejected:
            raise RunFailed(
                f"update {self.updates}, stage {stage}: {share:.0%} of the members were rejected "
                f"(rollout.max_rejected = {self.run.rollout.max_rejected:.0%}): {rejected}; the last checkpoint is "
                "sound; lower learning_rate, or look at the models that gave these values"
            )
        return used + dropped, samples([turn for turn in used if turn.prompt not in given]), len(given)

    def _let_settle(self) -> None:
        """Wait for what EnvRunners still hold; on-policy, that is nothing which an update waits for.

        Raises:
            RunFailed: they hold it longer than `rollout.deadline_s` and the time to be ended allow.
        """
        ends = time.monotonic() + self.run.rollout.deadline_s + self.run.rollout.restart_s
        while self.stream.in_flight_before(self.stream.jobs):
            if time.monotonic() > ends:
                held = self.stream.in_flight
                raise RunFailed(f"{held} prompts are still sampled, so that no other role can have their GPUs")
            self._pump(self.stage, _POLL_S)

    def _pump(self, stage: str, wait_s: float = 0.0) -> None:
        self.stream.pump(stage, max(self.schedule.next_change(self.updates), self.updates + 1), wait_s)
        if self.policies.alive(stage):  # its ranks have their places, and nothing that comes can take them
            self.elastic.follow()
        self.live.prompts(self.stream.waiting, self.stream.in_flight)
        self.live.workers(self.elastic.workers(), self.elastic.wanted())

    @override(Algorithm)
    def cleanup(self) -> None:
        if getattr(self, "env_runner_group", None) is not None:
            # At once: RLlib would wait for what they sample now, and they for the models that end below.
            self.env_runner_group._worker_manager.clear()
        if hasattr(self, "elastic"):  # where `setup` came so far
            self.elastic.close()
        if hasattr(self, "policies"):
            self.policies.abandon()
        if hasattr(self, "models") and not self.ray_ends:
            self.models.close(keep_serve=self.run.ray.address is None)
        super().cleanup()


def _sample(runner: ReflectEditRunner, job: Job, *, models: Models, run: RunConfig) -> pa.Table | Drawn:
    return runner.sample(job=job, models=models, run=run)
