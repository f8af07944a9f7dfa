"""`rlrig calibrate`: what the Checker's yes-probabilities are worth, on labelled pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from presets.places import TINY, preset_at
from presets.run_file import load_config
from rlrig.command import Json, Preset, Quiet, Set, exit_codes, settings
from rollout.local_ray import only_ray_of_process, ray_for_run
from scenes.harmless_text import harmless

if TYPE_CHECKING:
    from measuring.checker_calibration import Calibration, Labelled
    from presets.run_config import RunConfig


def calibrate(
    preset: Preset = TINY,
    set_: Set = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Folder of pictures with labels.jsonl; without it scenes are drawn.", metavar="FOLDER"),
    ] = None,
    prompts: Annotated[int, typer.Option(min=1, max=4096, help="Scenes that are drawn.")] = 64,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Ask the Checker about pictures whose truth is known; show its accuracy and calibration."""
    with exit_codes(json_) as out:
        from measuring.checker_calibration import drawn, read_labelled

        config = load_config(preset_at(preset), settings(set_))
        labelled, skipped = (drawn(prompts), {}) if pictures is None else read_labelled(pictures)
        with only_ray_of_process(config.ray):
            found = asked(config, labelled)
        if json_:
            print(json.dumps({"event": "result", **found.as_dict(), "skipped": skipped}), file=out, flush=True)
        elif not quiet:
            show(found, skipped, Console(highlight=False))


def asked(config: RunConfig, labelled: list[Labelled]) -> Calibration:
    """Start the Checker alone, ask it, and end it.

    Raises:
        BadInput: a model folder that cannot be used.
        VlmError, TimeoutError: it does not start, or does not answer.
    """
    from measuring.checker_calibration import calibrate as ask_all
    from rlrig.checks.preflight import check_models
    from serving.checker import Checker
    from serving.deployment import checker_of, start_vlms, stop_vlms

    check_models(config)
    role = "checker" if "checker" in config.vlms else "actor"  # without an adapter, it is the Checker, too
    with ray_for_run(config.ray):
        try:
            vlm = checker_of(start_vlms({role: config.vlms[role]}), config.vlm.checker)
            return ask_all(Checker(vlm, config.dialogue, config.rollout.least_mass), labelled)
        finally:
            stop_vlms([role], keep_serve=config.ray.address is None)


def show(found: Calibration, skipped: Mapping[str, int], console: Console) -> None:
    """The numbers, then how often yes was right for each range of probabilities."""
    table = Table("p(yes)", "questions", "mean p(yes)", "yes is right", box=None)
    for one in found.bins:
        table.add_row(f"{one.low:.1f}–{one.high:.1f}", str(one.count), f"{one.mean:.2f}", f"{one.frequency:.2f}")
    console.print(table)
    console.print(
        f"accuracy {found.accuracy:.1%} (balanced {found.balanced:.1%}) on {found.questions} questions, of which "
        f"{found.yes:.0%} hold; calibration error {found.error:.3f}, Brier score {found.brier:.3f}, "
        f"{found.unanswered} unanswered"
    )
    for reason, count in skipped.items():
        console.print(harmless(f"skipped {count}: {reason}"))
