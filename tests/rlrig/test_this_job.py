import json

from rlrig.this_job import JOB_VARIABLE, this_job


def test_the_job_of_this_process_is_the_one_in_its_environment() -> None:
    assert this_job({}) is None
    assert this_job({JOB_VARIABLE: json.dumps({"metadata": {"job_submission_id": "rlrig-1"}})}) == "rlrig-1"
    assert this_job({JOB_VARIABLE: json.dumps({"runtime_env": {}})}) is None
