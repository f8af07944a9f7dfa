"""`rlrig parse-prompt`: a plain prompt into requirements, by the Actor's VLM; nothing is drawn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from presets.choice.chosen_config import models_of
from presets.choice.fit import why_on_ray
from presets.choice.trained_models import trained_models
from presets.errors import BadInput
from presets.places import TINY
from rlrig.command import Json, ModelsOption, Run, Set, exit_codes
from rollout.local_ray import only_ray_of_process, ray_for_run
from scenes.harmless_text import harmless

if TYPE_CHECKING:
    from presets.run_config import RunConfig
    from scenes.vocabulary.plain_prompt import ReadPrompt
    from serving.generation import Vlm


def parse_prompt(
    prompt: Annotated[str, typer.Argument(help="A picture in plain words, for example 'Two foxes asleep by a fire'.")],
    preset: Annotated[Path, typer.Option("--preset", help="Run file.")] = TINY,
    set_: Set = None,
    run: Run = None,
    models: ModelsOption = None,
    ray: Annotated[
        bool, typer.Option("--ray", help="Run the Actor on Ray and vLLM, also where it would fit into this process.")
    ] = False,
    json_: Json = False,
) -> None:
    """Show what a plain prompt requires of a picture, as the run's Actor VLM reads it; draw nothing.

    What it prints can be given to `rlrig generate`. A prompt that is requirements already is shown as it is read.
    """
    with exit_codes(json_) as out:
        config, of_run, _ = models_of(run, preset, set_ or [], models, data=False)
        config = trained_models(config, of_run)
        with only_ray_of_process(config.ray):
            found = requirements_of(config, prompt, ray)
        if json_:
            print(json.dumps({"event": "result", **as_dict(found)}), file=out, flush=True)
        else:
            show(found, Console(highlight=False, markup=False, soft_wrap=True))


def requirements_of(config: RunConfig, prompt: str, on_ray: bool = False) -> ReadPrompt:
    """What a prompt requires: as the grammar reads it, or else the Actor's VLM, which is loaded for that.

    Raises:
        BadInput: the prompt is empty or too long, requires what cannot hold together, or the VLM made nothing of it.
        VlmError, TimeoutError: the VLM does not start, or does not answer.
    """
    from scenes.requirements_reader import NotUnderstood
    from scenes.vocabulary.plain_prompt import ReadPrompt
    from serving.prompts.plain_prompts import read_plain_prompt

    try:
        return ReadPrompt(config.vocabulary.read(prompt))
    except NotUnderstood:
        pass
    except ValueError as error:
        raise BadInput(str(error)) from error
    with actor_of(config, on_ray) as vlm:
        try:
            return read_plain_prompt(vlm, prompt, config.vocabulary, config.diffuser.size)
        except ValueError as error:
            raise BadInput(str(error)) from error


@contextmanager
def actor_of(config: RunConfig, on_ray: bool) -> Iterator[Vlm]:
    """The Actor's VLM until the block is left: in this process where the run's models fit, else on Ray and vLLM."""
    from rlrig.checks.preflight import check_models

    check_models(config)
    if not on_ray and why_on_ray(config) is None:
        from rlrig.local.models import load_role

        yield load_role(config, "actor")
        return
    from serving.deployment import start_vlms, stop_vlms

    with ray_for_run(config.ray):
        try:
            yield start_vlms({"actor": config.vlms["actor"]})["actor"]
        finally:
            stop_vlms(["actor"], keep_serve=config.ray.address is None)


def as_dict(found: ReadPrompt) -> dict[str, Any]:
    """The requirements, and what could not be used, as JSON has them."""
    graph = found.graph
    return {
        "prompt": "" if graph is None else graph.prompt,
        "requirements": [{"kind": one.kind, "text": one.text} for one in (graph.requirements if graph else ())],
        "unused": [{"text": text, "reason": reason} for text, reason in found.unused],
    }


def show(found: ReadPrompt, console: Console) -> None:
    """A line for each requirement, with its kind; then what was not used, and why; then all as one prompt."""
    told = as_dict(found)
    for one in told["requirements"]:
        console.print(f"{one['kind']:<10} {harmless(one['text'])}")
    for one in told["unused"]:
        console.print(f"not used   {harmless(one['text'])}: {harmless(one['reason'])}")
    console.print(f"\n{harmless(told['prompt'])}")
