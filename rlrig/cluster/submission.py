"""`rlrig submit`: a run as a job of a Ray cluster, over HTTP through Ray's Job API, followed to its end and retried."""

from __future__ import annotations

import asyncio
import os
import shlex
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import requests
from ray._private.runtime_env.packaging import GCS_STORAGE_MAX_SIZE
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from presets.checks import own_code
from presets.errors import BadInput, RunFailed
from presets.run_config import RunConfig
from presets.settings import HUB_PREFIX
from rlrig.cluster.package import EXCLUDES, check_travels, package_sizes

_TOOK_OVER = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")  # Ray prefers these to what it is told
_REQUEST_S = 60.0
_NOT_READY, _READY_S = "No available agent", 60.0  # what a head says that has only just started
_NO_AGENT = (
    f" This went on for {_READY_S:g} s. The agent of the head did not start: look into dashboard_agent.log there. "
    "Where another Ray runs on that machine, both want port 52365: start this one with --dashboard-agent-listen-port"
)
_QUIET_S = 30.0  # silence of the log after which the job's status is asked
_END_S = 120.0  # from the end of the log until the job has an end, too


class Client(JobSubmissionClient):
    """Ray's client, with a deadline for every request."""

    def _do_request(self, *arguments: Any, **options: Any) -> requests.Response:
        response: requests.Response = super()._do_request(*arguments, **{"timeout": _REQUEST_S, **options})
        return response


@dataclass(frozen=True)
class Job:
    """A run to be submitted.

    Attributes:
        preset: run file, relative to `working_dir`.
        out: folder on the head node, or a URI that `--out` of `rlrig train` takes.
        resume: go on from the last checkpoint in `out`.
    """

    working_dir: Path
    preset: Path
    overrides: tuple[str, ...]
    out: str
    resume: bool = False

    def command(self, resume: bool) -> str:
        """The entry point, as the head node's shell runs it."""
        settings = [part for override in self.overrides for part in ("--set", override)]
        start = ["--resume"] if resume else [self.preset.as_posix()]
        home, path = ("~/", self.out[2:]) if self.out.startswith("~/") else ("", self.out)
        out = home + shlex.quote(path)  # the home is the head node's, not ours
        return f"{shlex.join(['python', '-m', 'rlrig.cli', 'train', *start, *settings])} --out {out}"


def check_job(job: Job, config: RunConfig) -> None:
    """Refuse what could not work on the cluster.

    Raises:
        BadInput: a model folder, data file or own code that does not travel with the working directory, as it lies
            outside or an ignore file names it; or a directory that is too large.
    """
    places = {f"models.{name}": value for name, value in config.models.model_dump().items() if value}
    if config.data.path and (config.data.source == "laion_sg" or Path(config.data.path).exists()):
        places["data.path"] = config.data.path
    base = job.working_dir.resolve()
    for field, value in places.items():
        text = str(value)
        if not text.startswith(HUB_PREFIX) and not Path(text).resolve().is_relative_to(base):
            raise BadInput(
                f"{field}: {text} is outside of the working directory {base}, which is all that travels to the "
                "cluster; move it there, or name a model on the hub as hf://owner/name"
            )
    needed = {key: Path(value).resolve() for key, value in places.items() if not value.startswith(HUB_PREFIX)}
    for key, value in own_code(config).items():
        module = base / value.partition(":")[0].replace(".", "/")
        for file in (module.with_suffix(".py"), module / "__init__.py"):
            if file.is_file():
                needed[key] = file
    if (run_file := base / job.preset).is_file():
        needed["the run file"] = run_file
    check_travels(base, needed)
    sizes = package_sizes(job.working_dir)
    if (total := sum(sizes.values())) > GCS_STORAGE_MAX_SIZE:
        largest = ", ".join(
            f"{name} ({sizes[name] >> 20} MiB)" for name in sorted(sizes, key=sizes.__getitem__)[:-4:-1]
        )
        raise BadInput(
            f"--working-dir {job.working_dir}: {total >> 20} MiB are more than the {GCS_STORAGE_MAX_SIZE >> 20} MiB "
            f"that Ray takes; largest are {largest}: move what a run does not need out of it"
        )


def connect(address: str) -> Client:
    """A client of the cluster whose dashboard answers at `address`, http://HOST:PORT.

    Raises:
        BadInput: nothing answers there in time, it is no Ray dashboard, or it wants another token.
    """
    if not address.startswith(("http://", "https://")):
        raise BadInput(f"--address {address}: write http://HOST:8265, the address of the cluster's dashboard")
    for name in _TOOK_OVER:
        if os.environ.get(name, address) != address:
            raise BadInput(f"--address {address}: Ray would take {name}={os.environ[name]} instead; unset {name}")
    try:
        return Client(address, headers=authorization())
    except AuthenticationError as error:
        raise BadInput(
            f"--address {address}: the cluster refuses the token; put its token into RAY_AUTH_TOKEN, or name its file "
            f"in RAY_AUTH_TOKEN_PATH: {str(error).strip().splitlines()[0]}"
        ) from error
    except (ConnectionError, requests.exceptions.RequestException, RuntimeError, ValueError) as error:
        raise BadInput(
            f"--address {address}: no Ray dashboard answers there: {error}; is the cluster up, and the port forwarded "
            "(`ray dashboard cluster.yaml`)?"
        ) from error


def authorization() -> dict[str, str]:
    """The header with the token that the environment gives. Ray itself sends one only with RAY_AUTH_MODE=token."""
    token = os.environ.get("RAY_AUTH_TOKEN", "")
    if not token and (path := os.environ.get("RAY_AUTH_TOKEN_PATH")):
        try:
            token = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise BadInput(f"RAY_AUTH_TOKEN_PATH: {path} cannot be read: {error}") from error
    return {"Authorization": f"Bearer {token.strip()}"} if token.strip() else {}


def submit(client: Client, job: Job, resume: bool) -> str:
    """Send the working directory, start the job, return its name.

    Raises:
        RunFailed: the cluster refused it.
    """
    name = f"rlrig-{uuid4().hex[:10]}"
    environment = {"working_dir": str(job.working_dir), "excludes": list(EXCLUDES)}
    metadata = {"rlrig_preset": job.preset.as_posix(), "rlrig_out": job.out, "rlrig_resume": str(resume)}
    ends = time.monotonic() + _READY_S
    while True:
        try:
            submitted: str = client.submit_job(
                entrypoint=job.command(resume), submission_id=name, runtime_env=environment, metadata=metadata
            )
            return submitted
        except (RuntimeError, ValueError, requests.exceptions.RequestException) as error:
            if _NOT_READY not in str(error) or time.monotonic() > ends:
                remedy = _NO_AGENT if _NOT_READY in str(error) else ""
                raise RunFailed(f"{client.get_address()}: the job could not be submitted: {error}{remedy}") from error
        time.sleep(1.0)


def follow(client: Client, name: str, say: Callable[[str], None]) -> JobDetails:
    """Pass the job's log on until its end, and return how it ended.

    Raises:
        RunFailed: the log ended, but the job did not within a while; or the cluster is gone.
    """
    try:
        asyncio.run(_pass_on(client, name, say))
        ends = time.monotonic() + _END_S
        while not (details := client.get_job_info(name)).status.is_terminal():
            if time.monotonic() > ends:
                raise RunFailed(f"job {name}: its log ended {_END_S:g} s ago, but it is still {details.status}")
            time.sleep(1.0)
    except (requests.exceptions.RequestException, ConnectionError, RuntimeError) as error:
        if isinstance(error, RunFailed):
            raise
        raise RunFailed(
            f"job {name}: the cluster at {client.get_address()} does not answer any more: {error}; the job may still "
            f"run: ray job status --address {client.get_address()} {name}"
        ) from error
    return details


async def _pass_on(client: Client, name: str, say: Callable[[str], None]) -> None:
    log = client.tail_job_logs(name)
    line: asyncio.Task[str | None] | None = None
    while True:
        line = line or asyncio.ensure_future(_next(log))
        done, _ = await asyncio.wait({line}, timeout=_QUIET_S)
        if not done:
            if client.get_job_info(name).status.is_terminal():
                line.cancel()
                return
            continue
        text, line = line.result(), None
        if text is None:
            return
        say(text)


async def _next(log: AsyncIterator[str]) -> str | None:
    return await anext(log, None)


def run_job(client: Client, job: Job, retries: int, say: Callable[[str], None]) -> str:
    """Submit the job and follow it; where it fails, go on from its last checkpoint up to `retries` times. Returns the
    name of the job that succeeded.

    Raises:
        RunFailed: it failed once more than that, or was stopped.
    """
    resume, attempt = job.resume, 0
    while True:
        name = submit(client, job, resume)
        say(f"job {name} at {client.get_address()}, out {job.out}\n")
        details = follow(client, name, say)
        if details.status == JobStatus.SUCCEEDED:
            return name
        said = (details.message or "").split(", last available logs")[0].strip()  # the log was passed on already
        reason = f"job {name} {details.status.lower()}: {said}"
        if details.status == JobStatus.STOPPED or attempt == retries:
            raise RunFailed(f"{reason}; go on from its last checkpoint with --resume --out {job.out}")
        attempt, resume = attempt + 1, True
        say(f"{reason}; it goes on from its last checkpoint, retry {attempt} of {retries}\n")
