"""The progress of a run that is a job of a Ray cluster, where Ray's dashboard shows it: as the job's status message in
the list of jobs, and as metadata on the job's page.

Ray has no public call that changes a running job's metadata (`JobSubmissionClient` only submits, stops and reads), so
this uses the class that Ray's own job manager keeps jobs with, and changes nothing but these two fields.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from reports.status.reader import thinned
from reports.status.status import RunStatus
from reports.tables import clock_text
from rlrig.this_job import this_job

if TYPE_CHECKING:
    from ray.dashboard.modules.job.common import JobInfo

STATUS_KEY, FOLDER_KEY = "rlrig_status", "rlrig_folder"
_POINTS = 60  # of a curve: Ray hands all jobs' metadata out at once
_DEADLINE_S, _EVERY_S = 10, 1.0


class JobStore(Protocol):
    """Where Ray keeps its jobs: `ray.dashboard.modules.job.common.JobInfoStorageClient`."""

    async def get_info(self, job_id: str, timeout: int) -> JobInfo | None: ...

    async def put_info(self, job_id: str, job_info: JobInfo, overwrite: bool, timeout: int) -> bool: ...


def job_store(gcs_address: str) -> JobStore:
    """The jobs of the cluster whose GCS (Ray's head service) is at HOST:PORT."""
    from ray._raylet import GcsClient
    from ray.dashboard.modules.job.common import JobInfoStorageClient

    store: JobStore = JobInfoStorageClient(GcsClient(address=gcs_address))
    return store


def metadata_of(status: RunStatus, folder: str) -> dict[str, str]:
    """What the job's page shows: a line for a person for each thing, and the whole status for `rlrig status`."""
    reward, speed = status.reward.last, status.throughput.seconds_per_update
    lines = {
        "rlrig_run": status.run,
        "rlrig_state": status.state,
        "rlrig_phase": status.phase,
        "rlrig_update": f"{status.updates} of {status.total_updates}",
        "rlrig_stage": status.stage,
        "rlrig_reward": None if reward is None else f"{reward:.3f}",
        "rlrig_seconds_per_update": None if speed is None else f"{speed:.1f}",
        "rlrig_versions": ", ".join(f"{policy} {version}" for policy, version in status.versions.items()) or None,
        FOLDER_KEY: folder,
        STATUS_KEY: thinned(status, _POINTS).model_dump_json(exclude_none=True),
    }
    return {key: value for key, value in lines.items() if value is not None}


def message_of(status: RunStatus) -> str:
    """One line for the list of jobs."""
    parts = [f"{status.state}: update {status.updates} of {status.total_updates}"]
    if status.phase:
        parts.append(status.phase)
    if status.reward.last is not None:
        parts.append(f"reward {status.reward.last:.3f}")
    if status.seconds_left is not None and status.state == "running":
        parts.append(f"left {clock_text(status.seconds_left)}")
    return ", ".join(parts) + (f": {status.error}" if status.error else "")


async def put_progress(store: JobStore, job: str, status: RunStatus, folder: str, timeout_s: int) -> None:
    """Write the status into a running job; one that has ended is left as it is.

    Raises:
        LookupError: the cluster knows no such job.
        Exception: what the GCS client raises where the head does not answer.
    """
    info = await store.get_info(job, timeout=timeout_s)
    if info is None:
        raise LookupError(f"the cluster knows no job {job}")
    if info.status.is_terminal():
        return
    metadata = {**(info.metadata or {}), **metadata_of(status, folder)}
    await store.put_info(
        job, replace(info, message=message_of(status), metadata=metadata), overwrite=True, timeout=timeout_s
    )


class JobProgress:
    """Tells a job what it is given, the newest only, from a thread of its own: a head that is slow or gone holds no run
    up. What fails is said once, counted, and tried again with the next status.

    Args:
        job: submission id.
        store: makes the client, in the thread.
        folder: where the run's folder is.
        note: hears of the first failure, and at the end how many there were.
        deadline_s: seconds for one request to the head; a status takes two, a read and a write.
        every_s: seconds from one status to the next, at least.

    Attributes:
        failures: how often the status could not be told so far.
    """

    def __init__(
        self,
        job: str,
        store: Callable[[], JobStore],
        folder: str,
        note: Callable[[str], None],
        deadline_s: int = _DEADLINE_S,
        every_s: float = _EVERY_S,
    ) -> None:
        self._job, self._new_store, self._folder, self._note = job, store, folder, note
        self._deadline_s, self._every_s = deadline_s, every_s
        self._changed = threading.Condition()
        self._newest: RunStatus | None = None
        self._open = True
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="job progress", daemon=True)
        self.failures = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def tell(self, status: RunStatus) -> None:
        """Have the thread tell this instead of what it has not told yet."""
        with self._changed:
            self._newest = status
            self._changed.notify()

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Wait until the last status is told, or its deadlines have passed."""
        with self._changed:
            self._open = False
            self._changed.notify()
        self._over.set()
        self._thread.join(timeout=5 * self._deadline_s)
        if self._thread.is_alive():
            self._note(f"job {self._job}: its last progress was not taken within {5 * self._deadline_s} s")
        elif self.failures:
            self._note(f"job {self._job}: its progress could not be told {self.failures} times")

    def _work(self) -> None:
        store: JobStore | None = None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or not self._open)
                status, self._newest = self._newest, None
            if status is None:
                return
            try:
                store = store or self._new_store()
                tell = put_progress(store, self._job, status, self._folder, self._deadline_s)
                # Ray's own deadline, for a read and a write, comes first and leaves nothing pending.
                asyncio.run(asyncio.wait_for(tell, timeout=2 * self._deadline_s + 1))
            except Exception as error:  # the head may be gone in any way; the run does not need it for this
                self.failures += 1
                if self.failures == 1:
                    reason = str(error).strip() or type(error).__name__
                    self._note(f"job {self._job}: its progress could not be told, the run goes on: {reason}")
            self._over.wait(self._every_s)


def progress_of_this_job(gcs_address: str, folder: Path, note: Callable[[str], None]) -> JobProgress | None:
    """For the job whose entry point this process is; None outside of a job."""
    job = this_job(os.environ)
    if job is None:
        return None
    return JobProgress(job, lambda: job_store(gcs_address), str(folder.resolve()), note)
