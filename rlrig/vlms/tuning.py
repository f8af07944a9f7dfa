"""`rlrig sft-actor`: fine-tune the Actor on answers in the dialogue's form, with the learner that reinforces it."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from presets.errors import BadInput, RunFailed
from presets.places import TINY, preset_at
from presets.run_file import load_config, model_source
from rlrig.checks.output import writable_folder
from rlrig.command import Json, Preset, Quiet, Set, dated, exit_codes, settings
from rollout.local_ray import only_ray_of_process, ray_for_run
from scenes.harmless_text import harmless

if TYPE_CHECKING:
    from learner.samples import ActorSample
    from presets.run_config import RunConfig
    from reports.reading.lessons import Lessons


@dataclass(frozen=True)
class Course:
    """How it is taught: passes over all answers, and answers of one optimizer step."""

    epochs: int
    batch: int


def sft_actor(
    preset: Preset = TINY,
    set_: Set = None,
    answers: Annotated[
        Path | None,
        typer.Option(help="JSON records with answers, or trajectories: a Parquet file or a folder of them."),
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Address of an OpenAI-compatible endpoint that answers.", metavar="URL")
    ] = None,
    teacher_model: Annotated[str, typer.Option(help="Name of the teacher's model.")] = "",
    prompts: Annotated[int, typer.Option(min=1, help="Prompts of the data that the teacher gets.")] = 64,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over all answers.")] = 2,
    batch: Annotated[int, typer.Option(min=1, help="Answers of one optimizer step.")] = 32,
    out: Annotated[Path | None, typer.Option(help="Folder; default runs/sft-TIME.")] = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Fine-tune the Actor on answers whose edit improved the picture: a cold start, or one step of RAFT."""
    with exit_codes(json_) as stdout:
        config = load_config(preset_at(preset), settings(set_))
        if (answers is None) == (teacher is None):
            raise BadInput("--answers, --teacher: give one of the two")
        if teacher is not None and not teacher_model:
            raise BadInput("--teacher-model: name the model that the endpoint is to use")
        folder = writable_folder(out or Path("runs") / dated("sft"))
        console = Console(stderr=True, quiet=quiet or json_, highlight=False)
        with only_ray_of_process(config.ray):
            result = tune(config, answers, teacher, teacher_model, prompts, Course(epochs, batch), folder, console)
        if json_:
            print(json.dumps({"event": "result", **result}), file=stdout, flush=True)
        elif not quiet:
            print(harmless(str(result["model"])), file=stdout)


def tune(
    config: RunConfig,
    answers: Path | None,
    teacher: str | None,
    teacher_model: str,
    prompts: int,
    course: Course,
    folder: Path,
    console: Console,
) -> dict[str, Any]:
    """Collect what there is to imitate, train, and export to `folder`/models/actor.

    Raises:
        BadInput: there is nothing to imitate, or what was given cannot be used.
        RunFailed, LearnerFailed: a part did not start or go on, or the teacher does not answer.
    """
    from transformers import AutoProcessor

    from reports.reading.lessons import of_file, of_trajectories, samples_of
    from rlrig.checks.preflight import check_adapters, check_models

    check_models(config)
    check_adapters(config)
    with ray_for_run(config.ray):
        if answers is None:
            lessons, left_out = _taught(config, str(teacher), teacher_model, prompts, console)
        elif answers.is_dir() or answers.suffix == ".parquet":
            lessons, left_out = of_trajectories(answers)
        else:
            lessons, left_out = of_file(answers, config.dialogue)
        tokenizer = AutoProcessor.from_pretrained(model_source(config.models.actor)).tokenizer
        samples, longer = samples_of(lessons, tokenizer, config.rollout.max_answer_tokens)
        left_out = left_out + Counter({"longer than rollout.max_answer_tokens": longer})
        for reason, count in left_out.items():
            console.print(harmless(f"left out {count}: {reason}"))
        if not samples:
            raise BadInput(f"no answer is left to imitate: {dict(left_out)}")
        console.print(f"{len(samples)} answers to imitate")
        losses = _train(config, samples, course, folder, console)
    result = {
        "answers": len(samples),
        "left_out": dict(left_out),
        "losses": losses,
        "model": str(folder / "models" / "actor"),
    }
    (folder / "sft.json").write_text(json.dumps(result, indent=2), encoding="utf-8")
    return result


def _train(
    config: RunConfig, samples: list[ActorSample], course: Course, folder: Path, console: Console
) -> list[float]:
    """Mean −log p of an answer's token in each epoch, before the steps on it."""
    from learner.ranks import Learner

    once = {"importance_cap": None, "kl_coefficient": 0.0, "epochs": 1, "minibatches": 1, "decay_updates": None}
    given = {"system_prompt": config.actor_vlm.system_prompt, "dialogue": config.dialogue}
    options = config.placement.actor_options("learner")
    model = model_source(config.models.actor)
    losses = []
    with Learner("actor", model, config.learner.actor.model_copy(update=once), given, options) as learner:
        for epoch in range(course.epochs):
            order = random.Random(f"{config.seed}-{epoch}").sample(samples, len(samples))
            seen = terms = 0.0
            for first in range(0, len(order), course.batch):
                stats = learner.update(order[first : first + course.batch])
                seen, terms = seen + stats.logprob_mismatch_mean * stats.terms, terms + stats.terms
            losses.append(seen / terms)
            console.print(f"epoch {epoch + 1}/{course.epochs}: loss {losses[-1]:.3f} a token")
        learner.export(folder / "models" / "actor")
    return losses


def _taught(config: RunConfig, teacher: str, model: str, prompts: int, console: Console) -> Lessons:
    """What a teacher answers in episodes with the run's own Diffuser, editor and Checker, where it helped."""
    from types import SimpleNamespace

    from pydantic import ValidationError

    from reports.reading.lessons import of_episodes
    from rollout.episode import play
    from rollout.models import start_models
    from rollout.progress import Progress
    from rollout.prompts import load_prompts
    from rollout.seeds import derive_seed
    from serving.endpoint.config import EndpointConfig
    from serving.endpoint.openai_api import Endpoint, EndpointError
    from serving.endpoint.teacher import Teacher

    try:
        endpoint = Endpoint(EndpointConfig(base_url=teacher, model=model))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise BadInput(f"--teacher: {first['msg'].removeprefix('Value error, ')}") from None
    try:
        endpoint.probe()
    except EndpointError as error:
        raise (BadInput if error.permanent else RunFailed)(f"--teacher {teacher}: {error}") from error
    data = load_prompts(config.data, config.seed)
    for note in data.notes:
        console.print(harmless(note))
    graphs = data.train[:prompts]
    replacing = Teacher(endpoint, config.dialogue, config.actor_vlm.system_prompt)
    models = start_models(config, Progress())
    try:
        players = SimpleNamespace(
            diffuser=models.diffuser, editor=models.editor, checker=models.checker, actor=replacing
        )
        seed, settings = derive_seed(config.seed, "sft"), config.rollout
        episodes = play(players, graphs, seed, settings.turns, drawings=settings.drawings)
    finally:
        models.close(keep_serve=config.ray.address is None)
    found, left_out = of_episodes(episodes)
    return found, left_out + replacing.failures
