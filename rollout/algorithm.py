"""ReflectionGRPO as an RLlib algorithm: sample groups, learn, give the new weights to those who use them."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig, NotProvided
from ray.rllib.utils.annotations import override
from ray.rllib.utils.checkpoints import Checkpointable
from ray.tune import PlacementGroupFactory

from learner.deepspeed_learner import Learner
from learner.weights import WeightsLost
from rollout.batches import actor_samples, editor_samples
from rollout.config import RunConfig
from rollout.config_file import load_config
from rollout.elastic.elastic import Elastic
from rollout.env_runner import ReflectEditRunner
from rollout.errors import RunFailed
from rollout.group_sampler import Job
from rollout.group_stream import GroupStream, new_scheduler, saved_scheduler
from rollout.models import Models, start_models
from rollout.policies import Policies
from rollout.progress import Progress
from rollout.prompts import load_prompts
from rollout.rejection import rejections
from rollout.scheduler import Scheduler
from rollout.trajectory import Turn
from rollout.update_record import numbers_of, update_record
from rollout.watching.live_metrics import LiveMetrics

_REPOSITORY = Path(__file__).resolve().parent.parent
_POLL_S = 0.2
_BUFFERED, _SCHEDULE = "buffered", "schedule.json"  # complete groups in a checkpoint, and what was under way


class ReflectionGRPOConfig(AlgorithmConfig):
    """RLlib's configuration of ReflectionGRPO; what the run itself does stands in a preset.

    `ReflectionGRPOConfig().reflection(preset="presets/tiny/run.yaml", overrides=["rollout.turns=1"]).build_algo()`.
    """

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or ReflectionGRPO)
        self.api_stack(enable_rl_module_and_learner=False, enable_env_runner_and_connector_v2=True)
        self.env_runners(
            env_runner_cls=ReflectEditRunner,
            num_env_runners=1,
            num_cpus_per_env_runner=0.1,
            create_local_env_runner=False,
        )
        self.fault_tolerance(restart_failed_env_runners=True)
        self.preset = str(_REPOSITORY / "presets" / "tiny" / "run.yaml")
        self.overrides: list[str] = []
        self.folder: str | None = None
        self.num_gpus = 0

    def reflection(
        self,
        *,
        preset: str | Path = NotProvided,
        overrides: list[str] = NotProvided,
        folder: str | Path = NotProvided,
    ) -> ReflectionGRPOConfig:
        """Which preset to run, and `key=value` settings on top of it. The number of EnvRunners follows from it.

        `folder` is where the state of a policy that does not train at the moment is kept; without it, RLlib's own.

        Raises:
            BadInput: the preset or an override is refused.
        """
        if preset is not NotProvided:
            self.preset = str(Path(preset).resolve())
        if overrides is not NotProvided:
            self.overrides = list(overrides)
        if folder is not NotProvided:
            self.folder = str(Path(folder).resolve())
        rollout = self.run_config.rollout
        self.env_runners(num_env_runners=rollout.env_runners, num_cpus_per_env_runner=rollout.env_runner_cpus)
        return self

    @override(AlgorithmConfig)
    def _validate_new_api_stack_settings(self) -> None:
        """RLlib demands its own Learner with its new EnvRunners; here the learners of `learner/` take its place."""

    @property
    def run_config(self) -> RunConfig:
        """The preset with the overrides applied."""
        return load_config(Path(self.preset), self.overrides)


class ReflectionGRPO(Algorithm):
    """One `train()` is one weight update of the policy whose turn it is.

    `last_update` holds everything about the last one, also what is no number; `last_turns` its trajectories.
    """

    def __init__(self, config: Any = None, *, progress: Progress | None = None, **kwargs: Any) -> None:
        self.progress = progress or Progress()
        super().__init__(config=config, **kwargs)

    @classmethod
    @override(Algorithm)
    def get_default_config(cls) -> ReflectionGRPOConfig:
        return ReflectionGRPOConfig()

    @override(Algorithm)
    def setup(self, config: Any) -> None:
        self.models: Models | None = None
        self.policies: Policies | None = None
        self.elastic: Elastic | None = None
        super().setup(config)
        self.run: RunConfig = self.config.run_config
        self.schedule = self.run.schedule
        self.prompts = load_prompts(self.run.data, self.run.seed)
        self.updates = 0
        self.last_update: dict[str, Any] = {}
        self.last_turns: list[Turn] = []
        self.folder = Path(self.config.folder or self.logdir)
        self.name = self.folder.parent.name if self.config.folder else self.folder.name
        self.live = LiveMetrics(self.name)
        self.progress.watchers.append(self.live.phase)
        self.models = start_models(self.run, self.progress)
        self.policies = Policies(self.run, self.folder / "policies", self.models.board.settle)
        self.stream = self._stream(new_scheduler(self.run.rollout))
        self.elastic = Elastic(self.run, self.models, self.env_runner_group, lambda: self.stream, self.progress.note)

    def _stream(self, scheduler: Scheduler) -> GroupStream:
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
        """What a Tune trial sets aside: driver, EnvRunners (RLlib counts them from bundle 1), image models, learner,
        senders of weights.

        Serve places its replicas itself, outside of the trial.
        """
        settings = cls.get_default_config().update_from_dict(config)
        run = settings.run_config
        learners = [getattr(run.learner, policy) for policy in run.trained]
        largest = max(learners, key=lambda learner: learner.ranks * learner.cpus_per_rank)
        bundles = [
            {"CPU": settings.num_cpus_for_main_process},
            *[{"CPU": run.rollout.env_runner_cpus}] * run.rollout.env_runners,
            *[{"CPU": run.diffuser.cpus, "GPU": run.diffuser.gpus}] * run.diffuser.workers,
            *[{"CPU": run.editor.cpus, "GPU": run.editor.gpus}] * run.editor.workers,
            *[{"CPU": largest.cpus_per_rank}] * largest.ranks,
            *[{"GPU": run.sync.sender_gpus}] * [run.sync.actor, run.sync.editor].count("nccl"),
        ]
        return PlacementGroupFactory(bundles, strategy=settings.placement_strategy)

    @property
    def stage(self) -> str:
        """The policy that the next update trains; after the last stage its policy goes on."""
        return self.schedule[min(self.updates, len(self.schedule) - 1)]

    @override(Algorithm)
    def training_step(self) -> None:
        stage, started = self.stage, time.monotonic()
        self._pump(stage)  # the first prompts are sampled while the learner starts
        if not self.policies.alive(stage):
            self.elastic.make_room()
        with self.progress.phase("start learner"):
            learner = self.policies.learner(stage)
        with self.progress.phase("rollout"):
            turns, early = self._collect(stage, learner)
        began = time.monotonic()
        with self.progress.phase("learn"):
            stats = learner.update(meanwhile=lambda: self._pump(stage))
            self.policies.versions[stage] = stats.version
        learned = time.monotonic()
        with self.progress.phase("sync"):
            update = learner.weights(stats.version)
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
            {"learn": learned - began, "sync": synced - learned},
            has_truth=self.run.data.source == "shape_world",
        )
        self.last_update["seconds_total"] = time.monotonic() - started
        self.updates += 1
        self.live.update(self.last_update)
        for key, value in numbers_of(self.last_update):
            self.metrics.log_value(key, value, reduce="mean", window=1)

    def _collect(self, stage: str, learner: Learner) -> tuple[list[Turn], int]:
        """The turns of one update, those of prompts without a signal included, and the number of prompts that the
        learner began on while others were sampled.

        Raises:
            RunFailed: see `GroupStream.pump`; or too many members were rejected.
        """
        samples = actor_samples if stage == "actor" else editor_samples
        given: set[int] = set()  # prompts
        while not self.stream.ready:
            settled = self.stream.settled()
            learner.add(samples(settled))
            given |= {turn.prompt for turn in settled}
            self._pump(stage, _POLL_S)
        used, dropped = self.stream.take(self.updates)
        learner.add(samples([turn for turn in used if turn.prompt not in given]))
        rejected = rejections(used + dropped)
        share = sum(rejected.values()) / len(used + dropped)
        if share > self.run.rollout.max_rejected:
            raise RunFailed(
                f"update {self.updates}, stage {stage}: {share:.0%} of the members were rejected "
                f"(rollout.max_rejected = {self.run.rollout.max_rejected:.0%}): {rejected}; the last checkpoint is "
                "sound; lower learning_rate, or look at the models that gave these values"
            )
        return used + dropped, len(given)

    def _pump(self, stage: str, wait_s: float = 0.0) -> None:
        later = (number for number in range(self.updates, len(self.schedule)) if self.schedule[number] != stage)
        self.stream.pump(stage, next(later, max(len(self.schedule), self.updates + 1)), wait_s)
        if self.policies.alive(stage):  # its ranks have their places, and nothing that comes can take them
            self.elastic.follow()
        self.live.prompts(self.stream.waiting, self.stream.in_flight)
        self.live.workers(self.elastic.workers(), self.elastic.wanted())

    @override(Algorithm)
    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self.save_to_path(checkpoint_dir)

    @override(Algorithm)
    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self.restore_from_path(checkpoint_dir)

    @override(Checkpointable)
    def save_to_path(self, path: Any = None, **kwargs: Any) -> str:
        """RLlib's checkpoint, and beside it the state of every trained policy in `policies/`."""
        written = super().save_to_path(path, **kwargs)
        self.policies.save(Path(written) / "policies")
        scheduled = self.stream.save(Path(written) / _BUFFERED)
        (Path(written) / _SCHEDULE).write_text(json.dumps(scheduled), encoding="utf-8")
        return written

    @override(Algorithm)
    def restore_from_path(self, path: Any, *args: Any, **kwargs: Any) -> None:
        """Continue from a checkpoint; every replica gets the weights of that time."""
        Checkpointable.restore_from_path(self, path, *args, **kwargs)
        scheduled = json.loads((Path(path) / _SCHEDULE).read_text(encoding="utf-8"))
        self.stream = self._stream(saved_scheduler(scheduled, Path(path) / _BUFFERED))
        self.policies.load(Path(path) / "policies", self.policies.versions)
        for policy in self.policies.trained():
            self.models.apply_weights(self.policies.learner(policy).weights())

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

    @override(Algorithm)
    def cleanup(self) -> None:
        if self.elastic is not None:
            self.elastic.close()
        if self.policies is not None:
            self.policies.abandon()
        if self.models is not None:
            self.models.close(keep_serve=self.run.ray.address is None)
        super().cleanup()


def _sample(runner: ReflectEditRunner, job: Job, *, models: Models, run: RunConfig) -> pa.Table:
    return runner.sample(job=job, models=models, run=run)
