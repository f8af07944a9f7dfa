"""What `rlrig train` does: a whole run."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from presets.checks import refuse_adapters
from presets.choice.picture_size import check_exact_extractor
from presets.errors import RunFailed
from presets.memory.run_devices import check_memory
from rlrig.checks.dry_run import check_before_start, check_services
from rlrig.checks.preflight import check_adapters, check_disk, check_models, check_room
from rlrig.cluster.model_fetch import fetch_models
from rlrig.cluster.nodes import own_gpu_gib
from rlrig.run_folder import RunFolder
from rlrig.run_watch import RunWatch
from rollout.checkpoint import OLD_HEAD, read_head
from rollout.local_ray import ray_for_run

if TYPE_CHECKING:
    from presets.run_config import RunConfig
    from reports.storage import Mirror
    from rlrig.cluster.job_progress import JobProgress
    from rollout.algorithm import ReflectionGRPO
    from rollout.progress import Progress
    from rollout.watching.loggers import RunLoggers

_SHEETS = 4  # episodes of an evaluation that loggers show


def train(
    config: RunConfig,
    out_dir: Path,
    resume: bool,
    progress: Progress,
    mirror: Mirror | None = None,
    trust_pickles: bool = False,
) -> dict[str, Any]:
    """A whole run: evaluate, train stage by stage, evaluate again, export, report. Returns the summary.

    Args:
        trust_pickles: go on from a checkpoint of an older version, too, which executes what it holds.
        mirror: where the folder is kept as well, from checkpoint to checkpoint. A push that fails is said and made
            again at the next one.

    Raises:
        BadInput: what was given cannot be used.
        RunFailed: the run could not go on, or its end could not be pushed; what it had written stays.
    """
    folder = RunFolder(out_dir)
    checkpoint = folder.last_checkpoint(progress.note) if resume else None
    if checkpoint is not None and not (trust_pickles and (checkpoint / OLD_HEAD).is_file()):
        trust_pickles = False
        read_head(checkpoint)
    if checkpoint is not None and folder.finished_with(int(checkpoint.name), config.total_updates):
        progress.note(f"{out_dir}: nothing to do, all {config.total_updates} updates are done; ask for more in stages")
        return folder.read_json("summary.json") or {}
    from rollout.watching.loggers import RunLoggers, new_callbacks

    refuse_adapters(config)
    check_models(config)
    if config.data.source == "shape_world":
        check_exact_extractor(config)
    check_adapters(config)
    check_memory(config, lambda: own_gpu_gib() if config.ray.address is None else None)
    check_before_start(config, progress.note)
    check_services(config)
    done = int(checkpoint.name) if checkpoint else 0
    check_disk(config, out_dir, done)
    callbacks = new_callbacks(config.loggers, out_dir / "loggers", out_dir.name)
    began = time.time()
    folder.begin(config, done, began)
    progress.start(out_dir.name, config.schedule.plan(), done)
    loggers = RunLoggers(callbacks, out_dir / "loggers", out_dir.name, config.model_dump(mode="json"), progress.note)
    with RunWatch(folder, progress, done, loggers.failures) as watch:
        training = Training(config, folder, progress, mirror, loggers)
        try:
            with ray_for_run(config.ray, config.gpu_learner), loggers:
                check_room(config)
                fetch_models(config, progress)
                watch.inform(_job_of(config, out_dir, progress))
                training.go(checkpoint, trust_pickles)
        finally:
            folder.ended(time.time() - began)
        training.report()
        watch.finished()
        training.push_all()
    progress.finish(training.summary)
    return training.summary


class Training:
    """One run from its start, or from a checkpoint, to its last update, and what is written meanwhile.

    Attributes:
        summary: what `summary.json` holds.
    """

    def __init__(
        self, config: RunConfig, folder: RunFolder, progress: Progress, mirror: Mirror | None, loggers: RunLoggers
    ) -> None:
        self._config, self._folder, self._progress = config, folder, progress
        self._mirror, self._loggers, self._started = mirror, loggers, time.monotonic()
        self.summary: dict[str, Any] = {}

    def go(self, checkpoint: Path | None, trust_pickles: bool) -> None:
        """Start the models, train, evaluate before and after, export what was trained."""
        with self._progress.phase("start"):
            algorithm = build(self._config, self._folder, self._progress)
        try:
            if checkpoint:
                with self._progress.phase("restore"):
                    algorithm.restore_from_path(str(checkpoint), trust_pickles=trust_pickles)
                self._folder.forget_after(algorithm.updates)
            begun = {"run": self._folder.path.name, "prompts": self._config.evaluation.prompts}
            self.summary = self._folder.read_json("summary.json") or begun
            if "before" not in self.summary:
                self._evaluate("before", algorithm)
            self._progress.begin_updates()
            while algorithm.updates < self._config.total_updates:
                self._update(algorithm)
            self._evaluate("after", algorithm)
            with self._progress.phase("export"):
                exported = algorithm.policies.export(self._folder.models.resolve())
        except KeyboardInterrupt:
            algorithm.ray_ends = self._config.ray.address is None
            raise
        finally:
            with self._progress.phase("stop"):
                algorithm.stop()
        self.summary["models"] = [str(path.relative_to(self._folder.path.resolve())) for path in exported]
        self.summary["minutes"] = (time.monotonic() - self._started) / 60

    def report(self) -> None:
        """Write the summary and the report."""
        from measuring.reward_gap import trends
        from reports.before_after.picture import PICTURE
        from reports.reading.metrics import read_metrics
        from reports.report import write_report

        if self._loggers.failures:
            self.summary["logger_failures"] = dict(self._loggers.failures)
        self._folder.write_json("summary.json", self.summary)
        for trend in trends(read_metrics(self._folder.metrics)[0], ":" in self._config.rollout.reward):
            self._progress.note(trend.text)
        with self._progress.phase("report"):
            self._progress.note(f"report: {write_report([str(self._folder.path)])}")
            if (picture := self._folder.path / PICTURE).is_file():
                self._progress.note(f"before and after: {picture}")

    def push_all(self) -> None:
        """Bring the finished folder to its mirror.

        Raises:
            RunFailed: the mirror does not answer, or refuses.
        """
        if self._mirror:
            with self._progress.phase("push"):
                self._progress.note(f"{self._mirror.uri}: {self._mirror.push(self._folder.path)} files written")

    def _update(self, algorithm: ReflectionGRPO) -> None:
        """One weight update, its files, and the checkpoint and the evaluation that are due after it."""
        from rollout.groups.no_signal import NoSignal

        try:
            algorithm.train()
        except NoSignal as error:
            kept = f"; what was sampled is in {self._folder.keep_without_signal(error.turns)}" if error.turns else ""
            raise RunFailed(f"{error}{kept}") from error
        self._folder.add_update(algorithm.last_update, algorithm.last_turns, self._config.keep)
        self._loggers.log_update(algorithm.last_update)
        self._progress.update(algorithm.last_update)
        done, total = algorithm.updates, self._config.total_updates
        if done == total or _is_due(done, self._config.checkpoint.every):
            with self._progress.phase("checkpoint"):
                self._folder.save_checkpoint(algorithm, self._config.checkpoint.keep)
                self._push()
        if done < total and _is_due(done, self._config.evaluation.every):
            self._evaluate(f"after_{done}", algorithm)

    def _push(self) -> None:
        try:
            if self._mirror:
                self._mirror.push(self._folder.path)
        except RunFailed as error:
            self._progress.note(f"{error}; it is tried again at the next checkpoint")

    def _evaluate(self, name: str, algorithm: ReflectionGRPO) -> None:
        """Evaluate on held-out prompts and write the loop's metrics into the summary as `name`; nothing without
        prompts."""
        config = self._config
        if not config.evaluation.prompts:
            return
        from measuring.evaluation import evaluate_models, own_reward
        from measuring.truth import truth_measures
        from reports.before_after.picture import PICTURE, write_pictures
        from reports.before_after.rows import MOST_ROWS, before_after
        from reports.episode_folder import write_episode
        from reports.held_out import write_held_out
        from rollout.averaged import averaged_weights

        with self._progress.phase("evaluate"), averaged_weights(algorithm):
            graphs = algorithm.prompts.held_out[: config.evaluation.prompts]
            measures, reward = truth_measures(config), own_reward(config.rollout.reward)
            metrics, episodes, scores = evaluate_models(
                algorithm.models, graphs, config.rollout.turns, measures, reward, config.rollout.drawings
            )
        self.summary.setdefault("diffuser", metrics["diffuser"])
        self.summary[name] = metrics["loop"]
        path = self._folder.path
        write_held_out(scores, path / "held_out" / f"{name}.parquet")
        for index, episode in enumerate(episodes[:MOST_ROWS]):
            write_episode(episode, path / "episodes" / name / f"{index:02}")
        if (compared := before_after(path)[0]) is not None:
            write_pictures(compared, path, path.name)
        self._folder.write_json("summary.json", self.summary)
        self._loggers.log_evaluation(algorithm.updates, metrics["loop"])
        sheets = [path / "episodes" / name / f"{index:02}" / "episode.png" for index in range(_SHEETS)]
        shown = {"before_after": path / PICTURE, **{f"episode_{k}": sheet for k, sheet in enumerate(sheets)}}
        self._loggers.log_pictures(algorithm.updates, {key: file for key, file in shown.items() if file.is_file()})


def _is_due(done: int, every: int) -> bool:
    """Whether something that happens after each `every` updates is to happen now; 0 is never."""
    return bool(every) and done % every == 0


def _job_of(config: RunConfig, folder: Path, progress: Progress) -> JobProgress | None:
    """What tells the job that this process is; none where the run has a Ray of its own."""
    if config.ray.address is None:
        return None
    import ray

    from rlrig.cluster.job_progress import progress_of_this_job

    return progress_of_this_job(ray.get_runtime_context().gcs_address, folder, progress.note)


def build(config: RunConfig, folder: RunFolder, progress: Progress) -> ReflectionGRPO:
    """The RLlib algorithm of a run, started. It reads the configuration that lies in the run's folder."""
    from rollout.algorithm import ReflectionGRPO, ReflectionGRPOConfig

    logging.getLogger("ray.rllib").setLevel(logging.ERROR)
    settings = ReflectionGRPOConfig().reflection(preset=folder.path / "config.yaml", folder=folder.path / "state")
    settings.debugging(seed=config.seed, log_level="ERROR")

    return ReflectionGRPO(config=settings, progress=progress)
