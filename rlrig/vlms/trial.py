"""`rlrig try-vlm`: start the VLMs of a run alone, and show what they make of its dialogue."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from presets.errors import RunFailed
from presets.places import TINY, preset_at
from presets.run_file import load_config
from rlrig.command import Json, Preset, Quiet, Set, exit_codes, settings
from rollout.local_ray import only_ray_of_process, ray_for_run
from scenes.harmless_text import harmless

if TYPE_CHECKING:
    from measuring.vlm_trial import TrialReport
    from presets.run_config import RunConfig


def try_vlm(
    preset: Preset = TINY,
    set_: Set = None,
    prompts: Annotated[int, typer.Option(min=1, max=64, help="Pictures that they are asked about.")] = 8,
    least: Annotated[
        float, typer.Option(min=0, max=1, help="Share of answers that must be read; exit code 1 below it.")
    ] = 0.5,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Ask Actor and Checker a few questions about drawn pictures; show questions, answers and what was read."""
    with exit_codes(json_) as out:
        config = load_config(preset_at(preset), settings(set_))
        with only_ray_of_process(config.ray):
            report = asked(config, prompts)
        if json_:
            print(json.dumps({"event": "result", **report.as_dict()}), file=out, flush=True)
        elif not quiet:
            show(report, Console(highlight=False, markup=False, soft_wrap=True))
        if report.parsed < least:
            raise RunFailed(
                f"{report.parsed:.0%} of {prompts} answers could be read, less than --least {least:g}; try another "
                "rollout.dialogue or vlm.actor.system_prompt, a larger rollout.max_answer_tokens, or another Actor"
            )


def asked(config: RunConfig, prompts: int) -> TrialReport:
    """Start the VLMs, ask them, and end them.

    Raises:
        BadInput: a model folder that cannot be used.
        VlmError, TimeoutError: a VLM does not start, or does not answer.
    """
    from measuring.vlm_trial import pictures, try_vlms
    from rlrig.checks.preflight import check_models
    from serving.actor import Actor
    from serving.checker import Checker
    from serving.deployment import checker_of, start_vlms, stop_vlms

    check_models(config)
    dialogue, rollout = config.dialogue, config.rollout
    with ray_for_run(config.ray):
        try:
            vlms = start_vlms(config.vlms)
            actor = Actor(vlms["actor"], dialogue)
            checker = Checker(checker_of(vlms, config.vlm.checker), dialogue, rollout.least_mass)
            return try_vlms(actor, checker, pictures(prompts), rollout.sampling_temperature)
        finally:
            stop_vlms(list(config.vlms), keep_serve=config.ray.address is None)


def show(report: TrialReport, console: Console) -> None:
    """Each trial, then what they come to."""
    for number, trial in enumerate(report.trials, 1):
        console.print(f"{number}. asked:  {_line(trial.request)}")
        console.print(f"   answer: {_line(trial.answer)} ({trial.tokens} tokens)")
        if trial.unread is None:
            console.print(f"   read:   {_line(trial.reflection or '')} → {_line(trial.edit_prompt or '')}")
        else:
            console.print(f"   unread: {_line(trial.unread)}")
        for one in trial.checks:
            verdict = "right" if one.right else "wrong"
            console.print(f"   check:  {_line(one.question)} p(yes) {one.p_yes:.2f}, {verdict}")
    tokens, seconds = sum(trial.tokens for trial in report.trials), report.seconds
    console.print(f"Actor:   {report.parsed:.0%} of the answers read, {tokens} tokens in {seconds['actor']:.1f} s")
    console.print(f"Checker: {report.right:.0%} right, {report.unanswered} unanswered, in {seconds['checker']:.1f} s")


def _line(text: str) -> str:
    return harmless(" ".join(text.split()))
