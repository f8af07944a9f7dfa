"""What `rlrig train`, `eval` and `generate` do."""

from __future__ import annotations

import json
import logging
import time
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from rollout.errors import BadInput, RunFailed
from rollout.local_ray import ray_for_run
from rollout.preflight import check_adapters, check_models, check_room
from rollout.run_folder import RunFolder
from rollout.seeds import derive_seed
from rollout.watching.job_progress import progress_of_this_job
from rollout.watching.run_watch import RunWatch

if TYPE_CHECKING:
    from rollout.algorithm import ReflectionGRPO
    from rollout.config import RunConfig
    from rollout.measuring.measures import Measures
    from rollout.progress import Progress
    from rollout.state import Episode
    from rollout.storage import Mirror
    from rollout.watching.job_progress import JobProgress
    from rollout.watching.loggers import RunLoggers
    from scenes.scene_graph import SceneGraph


def train(
    config: RunConfig, out_dir: Path, resume: bool, progress: Progress, mirror: Mirror | None = None
) -> dict[str, Any]:
    """A whole run: evaluate, train stage by stage, evaluate again, export, report. Returns the summary.

    Args:
        mirror: where the folder is kept as well, from checkpoint to checkpoint. A push that fails is said and made
            again at the next one.

    Raises:
        BadInput: what was given cannot be used.
        RunFailed: the run could not go on, or its end could not be pushed; what it had written stays.
    """
    from rollout.watching.loggers import RunLoggers, new_callbacks

    check_models(config)
    check_adapters(config)
    callbacks = new_callbacks(config.loggers, out_dir / "loggers", out_dir.name)
    folder = RunFolder(out_dir)
    checkpoint = folder.last_checkpoint(progress.note) if resume else None
    plan = [(policy, len(list(updates))) for policy, updates in groupby(config.schedule)]
    done = int(checkpoint.name) if checkpoint else 0
    folder.create(config)
    progress.start(out_dir.name, plan, done)
    loggers = RunLoggers(callbacks, out_dir / "loggers", out_dir.name, config.model_dump(mode="json"), progress.note)
    with RunWatch(folder, progress, done, loggers.failures) as watch:
        return _train(config, folder, checkpoint, progress, mirror, loggers, watch)


def _train(
    config: RunConfig,
    folder: RunFolder,
    checkpoint: Path | None,
    progress: Progress,
    mirror: Mirror | None,
    loggers: RunLoggers,
    watch: RunWatch,
) -> dict[str, Any]:
    started, out_dir = time.monotonic(), folder.path
    with ray_for_run(config.ray, config.gpu_learner), loggers:
        check_room(config)
        watch.inform(_job_of(config, out_dir, progress))
        with progress.phase("start"):
            algorithm = build(config, folder, progress)
        try:
            if checkpoint:
                with progress.phase("restore"):
                    algorithm.restore_from_path(str(checkpoint))
                folder.forget_after(algorithm.updates)
            summary = folder.read_json("summary.json") or {"run": out_dir.name, "prompts": config.evaluation.prompts}
            if "before" not in summary:
                evaluate_into(summary, "before", algorithm, folder, progress, loggers)
            progress.begin_updates()
            while algorithm.updates < config.total_updates:
                algorithm.train()
                folder.add_update(algorithm.last_update, algorithm.last_turns)
                loggers.log_update(algorithm.last_update)
                progress.update(algorithm.last_update)
                done, every = algorithm.updates, config.checkpoint.every
                if done == config.total_updates or (every and done % every == 0):
                    with progress.phase("checkpoint"):
                        folder.save_checkpoint(algorithm, config.checkpoint.keep)
                        _push(mirror, out_dir, progress)
                if config.evaluation.every and done % config.evaluation.every == 0 and done < config.total_updates:
                    evaluate_into(summary, f"after_{done}", algorithm, folder, progress, loggers)
            evaluate_into(summary, "after", algorithm, folder, progress, loggers)
            with progress.phase("export"):
                exported = algorithm.policies.export(folder.models.resolve())
        finally:
            with progress.phase("stop"):
                algorithm.stop()
    summary["models"] = [str(path.relative_to(out_dir.resolve())) for path in exported]
    summary["minutes"] = (time.monotonic() - started) / 60
    if loggers.failures:
        summary["logger_failures"] = dict(loggers.failures)
    folder.write_json("summary.json", summary)
    from rollout.measuring.reward_gap import trends
    from rollout.reporting.report import write_report
    from rollout.reporting.run_record import read_metrics

    for trend in trends(read_metrics(folder.metrics)[0]):
        progress.note(trend.text)
    with progress.phase("report"):
        progress.note(f"report: {write_report([str(out_dir)])}")
    watch.finished()
    if mirror:
        with progress.phase("push"):
            progress.note(f"{mirror.uri}: {mirror.push(out_dir)} files written")
    progress.finish(summary)
    return summary


def _job_of(config: RunConfig, folder: Path, progress: Progress) -> JobProgress | None:
    """What tells the job that this process is; none where the run has a Ray of its own."""
    if config.ray.address is None:
        return None
    import ray

    return progress_of_this_job(ray.get_runtime_context().gcs_address, folder, progress.note)


def _push(mirror: Mirror | None, folder: Path, progress: Progress) -> None:
    try:
        if mirror:
            mirror.push(folder)
    except RunFailed as error:
        progress.note(f"{error}; it is tried again at the next checkpoint")


def build(config: RunConfig, folder: RunFolder, progress: Progress) -> ReflectionGRPO:
    """The RLlib algorithm of a run, started. It reads the configuration that lies in the run's folder."""
    from rollout.algorithm import ReflectionGRPO, ReflectionGRPOConfig

    logging.getLogger("ray.rllib").setLevel(logging.ERROR)
    settings = ReflectionGRPOConfig().reflection(preset=folder.path / "config.yaml", folder=folder.path / "state")
    settings.debugging(seed=config.seed, log_level="ERROR")

    return ReflectionGRPO(config=settings, progress=progress)


def evaluate_into(
    summary: dict[str, Any],
    name: str,
    algorithm: ReflectionGRPO,
    folder: RunFolder,
    progress: Progress,
    loggers: RunLoggers,
) -> None:
    """Evaluate on held-out prompts and write the loop's metrics into the summary as `name`; nothing without prompts."""
    config = algorithm.run
    if not config.evaluation.prompts:
        return
    from rollout.measuring.evaluation import evaluate_models
    from rollout.measuring.measures import default_measures
    from rollout.reporting.held_out import write_held_out

    with progress.phase("evaluate"):
        graphs = algorithm.prompts.held_out[: config.evaluation.prompts]
        measures = default_measures(config.data.source)
        metrics, episodes, scores = evaluate_models(algorithm.models, graphs, config.rollout.turns, measures)
    summary.setdefault("diffuser", metrics["diffuser"])
    summary[name] = metrics["loop"]
    write_held_out(scores, folder.path / "held_out" / f"{name}.parquet")
    folder.write_json("summary.json", summary)
    loggers.log_evaluation(algorithm.updates, metrics["loop"])
    for index, episode in enumerate(episodes[:8]):
        write_episode(episode, folder.path / "episodes" / name / f"{index:02}")


def evaluate(
    config: RunConfig, run_dir: Path | None, progress: Progress, measures: Measures | None = None
) -> dict[str, Any]:
    """Held-out metrics of the preset's models, or of a run's, by `measures` or those that fit the data.

    Raises:
        BadInput, RunFailed: an endpoint that `measures` asks refuses or does not answer; before any model starts.
    """
    from rollout.measuring.measures import default_measures

    config = trained_models(config, run_dir)
    if not config.evaluation.prompts:
        raise BadInput("evaluation.prompts: 0 leaves nothing to measure; give --prompts 64, for example")
    check_models(config)
    progress.start("evaluate", [])
    measures = measures or default_measures(config.data.source)
    with progress.phase("probe"):
        measures.probe()
    from rollout.measuring.evaluation import evaluate_models
    from rollout.models import start_models
    from rollout.prompts import load_prompts

    graphs = load_prompts(config.data, config.seed).held_out[: config.evaluation.prompts]
    with ray_for_run(config.ray):
        with progress.phase("start"):
            models = start_models(config, progress)
        try:
            with progress.phase("evaluate"):
                metrics, *_ = evaluate_models(models, graphs, config.rollout.turns, measures)
        finally:
            models.close(keep_serve=config.ray.address is None)
    for block in ("extraction", "judge"):
        for reason, count in metrics.get(block, {}).get("reasons", {}).items():
            progress.note(f"{block}: {count} images not scored: {reason}")
    return {"prompts": len(graphs), **metrics}


def generate(
    config: RunConfig, graph: SceneGraph, run_dir: Path | None, out_dir: Path, seed: int, progress: Progress
) -> dict[str, Any]:
    """One episode: every image as PNG, and `trace.json`. Returns the trace."""
    from rollout.episode import play
    from rollout.models import start_models

    config = trained_models(config, run_dir)
    check_models(config)
    progress.start("generate", [])
    with ray_for_run(config.ray):
        with progress.phase("start"):
            models = start_models(config, progress)
        try:
            with progress.phase("generate"):
                episode = play(models, [graph], derive_seed(seed, "generate"), config.rollout.turns)[0]
        finally:
            models.close(keep_serve=config.ray.address is None)
    return write_episode(episode, out_dir)


def trained_models(config: RunConfig, run_dir: Path | None) -> RunConfig:
    """The configuration with a run's trained models in the place of those that it started from.

    The Diffuser stays the preset's: a run's `models/editor` is a whole pipeline whose transformer is the editor's.

    Raises:
        BadInput: the run has no trained models.
    """
    if run_dir is None:
        return config
    models = {policy: run_dir / "models" / policy for policy in ("actor", "editor")}
    found = {policy: str(path.resolve()) for policy, path in models.items() if path.is_dir()}
    if not found:
        raise BadInput(f"--run {run_dir}: holds neither models/actor nor models/editor; the run has not finished")
    values = config.model_dump(mode="json")
    if "actor" in found:
        values["models"]["actor"] = values["vlm"]["actor"]["model"] = found["actor"]
    if "editor" in found:
        values["models"]["editor"] = found["editor"]
    return type(config).model_validate(values)


def write_episode(episode: Episode, folder: Path) -> dict[str, Any]:
    """Write every image, one picture of the whole (`episode.png`) and `trace.json`; returns the trace."""
    from rollout.reporting.episode_sheet import episode_sheet

    folder.mkdir(parents=True, exist_ok=True)
    requirements = [requirement.text for requirement in episode.graph.requirements]
    turns = []
    for index, frame in enumerate(episode.frames):
        Image.fromarray(frame.image).save(folder / f"turn-{index}.png")
        turns.append(
            {
                "image": f"turn-{index}.png",
                "seed": frame.seed,
                "request": frame.request,
                "answer": frame.answer,
                "reflection": frame.reflection,
                "edit_prompt": frame.edit_prompt,
                "kept": frame.kept,
                "satisfaction": dict(zip(requirements, frame.satisfaction, strict=True)),
            }
        )
    episode_sheet(episode).save(folder / "episode.png")
    trace = {"prompt": episode.graph.prompt, "requirements": requirements, "turns": turns}
    (folder / "trace.json").write_text(json.dumps(trace, indent=2), encoding="utf-8")
    return trace
