"""What an EnvRunner is called with: a job, or the question where it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from actors.site import Site, said, this_site
from rollout.groups.job import Drawn, Job

Sample = Callable[[Any, Job], pa.Table | Drawn]


@dataclass(frozen=True)
class SamplingError:
    """An error of the code that samples; an EnvRunner that raised it would be ended by RLlib."""

    text: str


class SamplingCall:
    """Samples a job."""

    def __init__(self, sample: Sample, job: Job) -> None:
        self._sample, self._job = sample, job

    def __call__(self, runner: Any) -> pa.Table | Drawn | SamplingError:
        """What was asked for, or what went wrong."""
        try:
            return self._sample(runner, self._job)
        except Exception as error:
            logging.getLogger(__name__).exception("a job failed")
            return SamplingError(said(error))


def site_of(_: Any) -> Site:
    """Where the EnvRunner runs."""
    return this_site()
