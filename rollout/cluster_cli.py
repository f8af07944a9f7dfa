"""`rlrig submit`: what is done with a Ray cluster from outside of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from rollout.command import TINY, Preset, Set, exit_codes, preset_at
from rollout.config_file import load_config
from rollout.errors import BadInput


def submit(
    preset: Preset = TINY,
    address: Annotated[str, typer.Option(help="The cluster's dashboard, http://HOST:8265.")] = "http://127.0.0.1:8265",
    set_: Set = None,
    out: Annotated[
        str | None, typer.Option(help="The run's folder on the head node, or a URI; default ~/rlrig-runs/TIME.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
    working_dir: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="What travels to the cluster: the code and the models.")
    ] = Path(),
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Show the log, and end as the job does.")] = True,
    retries: Annotated[int, typer.Option(min=0, help="With --wait: times to go on from a checkpoint.")] = 0,
) -> None:
    """Train on a Ray cluster: submit the run as a job over HTTP, and follow it."""
    with exit_codes():
        if resume and out is None:
            raise BadInput("--resume: say which run with --out, a folder of the head node or a URI")
        if retries and not wait:
            raise BadInput(f"--retries {retries}: only a job that is waited for can be retried; leave out --no-wait")
        config = load_config(preset_at(preset), set_ or [])
        if not preset.resolve().is_relative_to(working_dir.resolve()):
            raise BadInput(f"{preset}: is outside of --working-dir {working_dir.resolve()}, which is all that travels")
        from rollout import submission

        folder = out or f"~/rlrig-runs/{preset.resolve().parent.name}-{time.strftime('%Y%m%d-%H%M%S')}"
        relative = preset.resolve().relative_to(working_dir.resolve())
        job = submission.Job(working_dir.resolve(), relative, tuple(set_ or ()), folder, resume)
        submission.check_job(job, config)
        client = submission.connect(address)
        if wait:
            submission.run_job(client, job, retries, lambda text: print(text, end="", flush=True))
        else:
            print(submission.submit(client, job, resume))
