from ray.exceptions import RayTaskError

from rollout.groups.sampling_call import SamplingCall


def raising(error: Exception):
    def sample(runner, job):
        raise error

    return SamplingCall(sample, None)


def test_an_error_of_another_process_comes_without_its_traceback_but_with_the_replica_s_name():
    traceback = (
        'ray::Diffuser.timed()\n  File "flux_model.py", line 75\n    return\n           ^^^^\nValueError: 3 prompts'
    )
    error = RayTaskError("timed", traceback, ValueError("3 prompts")).as_instanceof_cause()
    error.add_note("raised by draw of Diffuser-0")
    assert raising(error)("runner").text == "ValueError: 3 prompts; raised by draw of Diffuser-0"


def test_an_error_of_its_own_comes_with_its_type():
    assert raising(KeyError("prompt"))("runner").text == "KeyError: 'prompt'"
