"""`rlrig check-family`: try what a family of editors promises, on the model of a run file."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from presets.errors import RunFailed
from presets.places import TINY, preset_at
from presets.run_file import load_config, model_source
from rlrig.command import Json, Set, exit_codes, settings
from scenes.harmless_text import harmless

_STEPS = 4


def check_family(
    family: Annotated[
        str | None, typer.Argument(help="Your class, module:name; without it the run file's own.", metavar="FAMILY")
    ] = None,
    preset: Annotated[Path, typer.Option("--preset", help="Run file: model, sizes, learner.")] = TINY,
    set_: Set = None,
    json_: Json = False,
) -> None:
    """Try an editor's code on its model: batches, log-probabilities, one step of training, export."""
    with exit_codes(json_) as out:
        given = [] if family is None else [f"editor.family={family}"]
        config = load_config(preset_at(preset), settings([*given, *(set_ or [])]))
        learner = config.learner.editor
        os.environ.setdefault("DS_ACCELERATOR", learner.device)  # DeepSpeed would look for one, and warn
        from measuring.family_contract import try_family

        promises = try_family(
            model_source(config.models.edits_with),
            learner,
            config.diffuser.size.plain,
            min(_STEPS, config.editor.steps),
            config.editor.model_settings,
        )
        broken = [promise for promise in promises if not promise.holds]
        if json_:
            result = {"holds": not broken, "promises": [asdict(promise) for promise in promises]}
            print(json.dumps({"event": "result", **result}), file=out, flush=True)
        else:
            for promise in promises:
                print(harmless(f"{'holds' if promise.holds else 'FAILS'}  {promise.what}: {promise.found}"))
        if broken:
            first = broken[0]
            raise RunFailed(f"the family does not do what rollout and learner need: {first.what}: {first.found}")
