"""`rlrig train`: a whole run, new or gone on with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from presets.choice.chosen_config import config_to_train
from presets.errors import BadInput
from presets.places import TINY
from reports.status.progress_display import make_progress
from rlrig.checks.output import writable_folder
from rlrig.command import Json, Preset, Quiet, Set, dated, exit_codes, settings
from rollout.checkpoint import TRUST
from rollout.local_ray import fork_server, only_ray_of_process

if TYPE_CHECKING:
    from reports.storage import Mirror


def new_run_folder(preset: Path) -> Path:
    """`runs/<preset>-<time>`."""
    return Path("runs") / dated(preset.resolve().parent.name)


def _place_of(out: str, resume: bool) -> tuple[Mirror | None, Path]:
    """The folder that the run works in, and its mirror where `out` is a URI; to resume, the folder is made from it."""
    if "://" not in out:
        return None, Path(out)
    from reports.storage import Mirror

    mirror = Mirror(out)
    folder = Path("runs") / mirror.name
    if resume:
        if folder.exists():  # what lies at the URI is what counts; nothing that was computed is thrown away
            folder.rename(folder.with_name(dated(f"{folder.name}-before")))
        mirror.pull(folder)
    elif mirror.exists():
        raise BadInput(f"--out {out}: holds a run; choose another, or go on with --resume")
    return mirror, folder


def train(
    preset: Preset = TINY,
    set_: Set = None,
    updates: Annotated[
        int | None, typer.Option(min=1, help="Updates of all `stages` together, in the run file's proportion.")
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(help="Folder of the run, or a URI (s3://…) that runs/NAME is kept at; default runs/PRESET-TIME."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
    trust_pickles: Annotated[
        bool, typer.Option(TRUST, help="Go on from a checkpoint of an older version, too; executes what it holds.")
    ] = False,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Train, and write models, trajectories, metrics and a report into the run's folder."""
    with exit_codes(json_) as out_:
        if trust_pickles and not resume:
            raise BadInput(f"{TRUST}: goes with --resume only")
        if resume and out is None:
            raise BadInput("--resume: say which run with --out runs/NAME")
        mirror, folder = _place_of(out, resume) if out else (None, new_run_folder(preset))
        config = config_to_train(preset, settings(set_), folder, resume, updates)
        fork_server(config.ray, config.gpu_learner)  # it imports beside this process
        from rlrig.training import train as run_training

        writable_folder(folder)
        with only_ray_of_process(config.ray), make_progress(quiet, json_, out=out_) as progress:
            run_training(config, folder, resume, progress, mirror, trust_pickles)
