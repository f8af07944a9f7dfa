"""`rlrig submit` and `rlrig plan`: what is done with a Ray cluster from outside of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from presets.errors import BadInput
from presets.places import TINY, preset_at
from presets.run_file import load_config
from rlrig.command import FAILED, Json, Preset, Set, dated, exit_codes


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
        preset = preset_at(preset)
        config = load_config(preset, set_ or [])
        if not preset.resolve().is_relative_to(working_dir.resolve()):
            raise BadInput(
                f"{preset}: is outside of --working-dir {working_dir.resolve()}, which is all that travels; copy it "
                "there, with its models"
            )
        from presets.choice.picture_size import check_picture_size
        from presets.memory.run_devices import check_memory
        from rlrig.cluster import submission

        folder = out or dated(f"~/rlrig-runs/{preset.resolve().parent.name}")
        relative = preset.resolve().relative_to(working_dir.resolve())
        job = submission.Job(working_dir.resolve(), relative, tuple(set_ or ()), folder, resume)
        submission.check_job(job, config)
        check_picture_size(config)
        check_memory(config, lambda: None)
        client = submission.connect(address)
        if wait:
            submission.run_job(client, job, retries, lambda text: print(text, end="", flush=True))
        else:
            print(submission.submit(client, job, resume))


def plan(
    preset: Preset = TINY,
    set_: Set = None,
    address: Annotated[
        str | None,
        typer.Option(help="Ask this cluster whether it has room: HOST:6379, http://HOST:8265, or auto."),
    ] = None,
    cluster: Annotated[
        Path | None,
        typer.Option(help="File of `ray up`: the nodes that an autoscaler may add."),
    ] = None,
    gpu_gib: Annotated[
        float | None,
        typer.Option("--gpu-gib", min=0.1, help="Memory of a GPU, in GiB; default needs.gpu_gib, or the nodes' label."),
    ] = None,
    json_: Json = False,
) -> None:
    """Say what a run asks of Ray, and how much memory (by role and by GPU) and disk it takes; nothing is started."""
    with exit_codes(json_) as out:
        joins = [f"ray.address={address or 'auto'}"] if address or cluster else []
        config = load_config(preset_at(preset), [*joins, *(set_ or [])])
        from presets.disk import trajectories_on_disk
        from presets.memory.run_devices import too_large
        from presets.memory.sizes import Sizes, latent_shape
        from presets.planning.plan import make_plan
        from rlrig.cluster.nodes import Cluster, cluster_at, node_types
        from rlrig.cluster.plan_page import plan_as_dict, show_plan
        from rlrig.cluster.room import judge

        types = node_types(cluster) if cluster else None
        found = cluster_at(address, types) if address else Cluster(types=types) if types else None
        sizes, gib = Sizes(), gpu_gib or config.needs.gpu_gib or (found.gpu_gib if found else None)
        planned = make_plan(config, sizes=sizes, gpu_gib=gib)
        verdict = judge(planned, found) if found else None
        misfits = too_large(config, sizes, gib) if gib else ()
        disk = trajectories_on_disk(config, latent_shape(config.models.edits_with, sizes))
        if json_:
            print(json.dumps(plan_as_dict(planned, verdict, misfits, disk)), file=out, flush=True)
        else:
            show_plan(planned, str(preset), verdict, misfits=misfits, disk=disk, disk_gib=config.needs.disk_gib)
        if misfits or (verdict and not verdict.fits):
            raise typer.Exit(FAILED)
