import json
import os
import socket
import sys

import pytest

from actors.preloaded.enter import asked, forked
from actors.preloaded.server import Refused, Worker, _answer, differing

COMMAND = ["/ray/default_worker.py", "--node-ip-address=127.0.0.1"]


def worker(arguments, before=None, **environment):
    """What a fork server makes of these arguments; its own environment is that of the worker without `environment`."""
    said = asked([*arguments, "--language=PYTHON"])
    said["environment"] = {**os.environ, **environment}
    return Worker(said, dict(os.environ) if before is None else before)


def context(**fields) -> str:
    return f"--serialized-runtime-env-context={json.dumps(fields)}"


def test_a_worker_gets_rays_command_and_the_variables_of_its_runtime_environment():
    made = worker([*COMMAND, context(env_vars={"RAY_JOB_ID": "7"})])
    assert made.command == COMMAND
    assert made.environment["RAY_JOB_ID"] == "7"
    assert made.nice == os.getpriority(os.PRIO_PROCESS, 0)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"command_prefix": ["numactl"]}, "numactl"),
        ({"py_executable": "uv run"}, "uv run"),
        ({"override_worker_entrypoint": "/other.py"}, "command begins"),
        ({"env_vars": {"OMP_NUM_THREADS": "3"}}, "differs in OMP_NUM_THREADS"),
        ({"env_vars": {"LD_PRELOAD": "x.so"}}, "differs in LD_PRELOAD"),
        ({"env_vars": {"PATH": "/bin:${PATH}"}}, "made of other variables"),
    ],
)
def test_what_only_a_new_interpreter_can_be_is_refused(fields, why):
    with pytest.raises(Refused, match=why):
        worker([*COMMAND, context(**fields)])


def test_java_is_refused():
    with pytest.raises(Refused, match="JAVA"):
        Worker(asked([*COMMAND, "--language=JAVA"]), dict(os.environ))


def test_the_paths_of_the_worker_replace_those_of_the_server(monkeypatch):
    monkeypatch.setattr(sys, "path", ["/script", "/of/server", "/both"])
    made = worker(COMMAND, {**os.environ, "PYTHONPATH": "/of/server"}, PYTHONPATH="/of/worker:/other")
    assert made.path == ["/of/worker", "/other", "/both"]


def test_differences_that_a_worker_reads_after_the_fork_are_none():
    here = {"OMP_NUM_THREADS": "1", "VLLM_CONFIGURE_LOGGING": "0", "RAY_X": "1", "PYTHONPATH": "/a"}
    assert differing(here, {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}) == []
    assert differing(here, {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "0"}) == ["HF_HUB_OFFLINE"]
    assert differing(here, {"VLLM_CONFIGURE_LOGGING": "1"}) == ["OMP_NUM_THREADS", "VLLM_CONFIGURE_LOGGING"]


def test_without_a_server_no_worker_is_forked(tmp_path, capfd):
    assert not forked(str(tmp_path / "socket"), COMMAND)
    assert "starting one in a new interpreter" in capfd.readouterr().err


def test_a_server_that_does_not_answer_is_not_waited_for(tmp_path, capfd):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(path)
        silent.listen()
        assert not forked(path, COMMAND, deadline_s=0.2)
    assert "timed out" in capfd.readouterr().err


@pytest.mark.parametrize("text", [b"no JSON", b"{}", b'{"arguments": [], "environment": {}}'])
def test_what_is_refused_leaves_no_file_open(text, capfd):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        socket.send_fds(ours, [b"+"], [0, 1, 2])
        ours.sendall(text)
        ours.shutdown(socket.SHUT_WR)
        before = os.listdir("/proc/self/fd")
        assert _answer(theirs, {}) is None
        assert os.listdir("/proc/self/fd") == before
        assert ours.recv(16) == b"refused"
