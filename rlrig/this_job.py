"""The job of a Ray cluster whose entry point this process is."""

from __future__ import annotations

import json
from collections.abc import Mapping

JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # Ray sets it in the entry point of a job


def this_job(environment: Mapping[str, str]) -> str | None:
    """The submission id of the job whose entry point has this environment; None outside of a job."""
    text = environment.get(JOB_VARIABLE)
    return json.loads(text).get("metadata", {}).get("job_submission_id") if text else None
