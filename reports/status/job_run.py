"""A run that is a job of a Ray cluster."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from reports.status.status import RunStatus


class JobRun(BaseModel):
    """A job, and how the run in it goes."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    job: str
    """Ray's submission id."""
    job_status: str
    """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED."""
    message: str | None = None
    """What Ray's dashboard shows beside it."""
    submitted: float | None = None
    """Seconds since 1970."""
    out: str | None = None
    """Folder or URI of the run, as it was submitted; the folder on the head node where that is not known."""
    run: RunStatus | None = None
    """None where the run has not said anything yet."""
    source: str | None = None
    """Where `run` comes from: `folder`, where the run's folder can be read here, or `job`."""
    faults: list[str] = []
    """What could not be read."""

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.job_status in ("STOPPED", "SUCCEEDED", "FAILED")
