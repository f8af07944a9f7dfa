"""The runs that are jobs of a Ray cluster, over HTTP through the dashboard's Job API."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from pydantic import ValidationError
from ray.exceptions import AuthenticationError

from presets.errors import BadInput, RunFailed
from reports.status.job_run import JobRun
from reports.status.status import RunStatus
from rlrig.cluster.job_progress import FOLDER_KEY, STATUS_KEY

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

_OURS, _OUT_KEY = "rlrig_", "rlrig_out"
_COMMANDS = ("rlrig.cli train", "rollout.cli train")  # the second is what older versions submitted


def jobs_of(client: JobSubmissionClient, read: Callable[[Path], RunStatus | None]) -> list[JobRun]:
    """The runs among a cluster's jobs, the newest last.

    Args:
        read: the status of the run in a folder of this machine; None where no run lies there.

    Raises:
        BadInput: the cluster refuses the token, or none of its jobs is a run.
        RunFailed: the cluster does not answer.
    """
    address = client.get_address()
    try:
        jobs = client.list_jobs()
    except AuthenticationError as error:
        raise BadInput(
            f"--address {address}: the cluster refuses the token; put its token into RAY_AUTH_TOKEN"
        ) from error
    except (requests.exceptions.RequestException, ConnectionError, RuntimeError, ValueError) as error:
        raise RunFailed(f"--address {address}: the cluster does not answer: {error}") from error
    runs = [job for job in jobs if job.submission_id and _is_run(job)]
    if not runs:
        others = f"; it has {len(jobs)} others" if jobs else ""
        raise BadInput(
            f"--address {address}: no job of this cluster is a run{others}; start one with `rlrig submit --address "
            f"{address}`, or give the run's folder with --run"
        )
    return [_status(job, read) for job in sorted(runs, key=lambda job: job.start_time or 0)]


def choose(jobs: Sequence[JobRun], run: str) -> list[JobRun]:
    """The jobs that wrote into this folder or URI, or into one of the same name.

    Raises:
        BadInput: there is none.
    """
    name = run.split("?")[0].rstrip("/").rsplit("/", 1)[-1]
    found = [job for job in jobs if run == job.out or (job.run and job.run.run == name) or _name_of(job.out) == name]
    if not found:
        names = ", ".join(filter(None, (_name_of(job.out) for job in jobs)))
        raise BadInput(f"--run {run}: no job of the cluster is this run; its runs are: {names}")
    return found


def _name_of(out: str | None) -> str | None:
    return out.split("?")[0].rstrip("/").rsplit("/", 1)[-1] if out else None


def _is_run(job: JobDetails) -> bool:
    return any(key.startswith(_OURS) for key in job.metadata or {}) or any(
        command in (job.entrypoint or "") for command in _COMMANDS
    )


def _status(job: JobDetails, read: Callable[[Path], RunStatus | None]) -> JobRun:
    metadata: dict[str, Any] = job.metadata or {}
    faults: list[str] = []
    run, source = None, None
    if text := metadata.get(STATUS_KEY):
        try:
            run, source = RunStatus.model_validate_json(text), "job"
        except ValidationError as error:
            faults.append(f"metadata {STATUS_KEY}: {error.errors(include_url=False)[0]['msg']}")
    folder = metadata.get(FOLDER_KEY) or metadata.get(_OUT_KEY, "")
    if folder and "://" not in folder:
        found = None
        try:
            found = read(Path(os.path.expanduser(folder)))
        except RunFailed as error:  # a folder of the head node; what the job says of itself is shown
            faults.append(str(error))
        # A folder of the same name may lie on this machine by chance.
        if found is not None and (run is None or found.started == run.started):
            run, source = found, "folder"
    if run is not None and run.state == "running" and job.status.is_terminal():
        run = run.model_copy(update={"state": "lost"})
    return JobRun(
        job=job.submission_id,
        job_status=job.status.value,
        message=job.message,
        submitted=job.start_time / 1000 if job.start_time else None,
        out=metadata.get(_OUT_KEY) or metadata.get(FOLDER_KEY),
        run=run,
        source=source,
        faults=faults,
    )
