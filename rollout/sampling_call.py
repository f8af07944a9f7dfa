"""What an EnvRunner is called with: a job, or the question where it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from ray.exceptions import RayTaskError

from actors.site import Site, last_line, this_site
from rollout.group_sampler import Job

Sample = Callable[[Any, Job], pa.Table]


@dataclass(frozen=True)
class SamplingError:
    """An error of the code that samples; an EnvRunner that raised it would be ended by RLlib."""

    text: str


class SamplingCall:
    """Samples a job."""

    def __init__(self, sample: Sample, job: Job) -> None:
        self._sample, self._job = sample, job

    def __call__(self, runner: Any) -> pa.Table | SamplingError:
        """The trajectory table, or what went wrong."""
        try:
            return self._sample(runner, self._job)
        except Exception as error:
            logging.getLogger(__name__).exception("a job failed")
            return SamplingError(_said(error))


def _said(error: Exception) -> str:
    """What went wrong, and in which replica; the log has the traceback, also that of the other process."""
    text = last_line(error) if isinstance(error, RayTaskError) else f"{type(error).__name__}: {error}"
    return "; ".join([text, *getattr(error, "__notes__", ())])


def site_of(_: Any) -> Site:
    """Where the EnvRunner runs."""
    return this_site()
