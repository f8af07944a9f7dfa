"""The fork server: imports what workers import, then forks a worker for each that `enter.py` asks for.

Run as `python server.py SOCKET MODULE,MODULE,…`; it ends when its standard input does, that is with the process that
started it, and takes the socket's folder along. It is single-threaded and has used no library that a fork would break.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_FORKED, _REFUSED = b"forked", b"refused"
_READ_S = 10.0
_LARGEST = 1 << 24
_PEER = struct.Struct("3i")  # pid, uid, gid: what SO_PEERCRED answers

# What may differ between this process and a worker, since it is read after the fork. What is Ray's may, too: Ray is not
# imported here.
_READ_LATE = {
    "FORWARDED_ALLOW_IPS",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY",
    "PATH",
    "PYTEST_CURRENT_TEST",
    "PYTHONBREAKPOINT",
    "PYTHONPATH",
    "RLRIG_PRELOADED",
    "RLRIG_WORKER",
    "SPT_NOENV",
    "TOKENIZERS_PARALLELISM",
    "VLLM_CPU_KVCACHE_SPACE",
    "VLLM_CPU_OMP_THREADS_BIND",
}
# What this process may have and a worker lack: it makes a library quiet, says what is so on this machine anyway, or
# keeps from being compiled what libraries would compile at their first use.
_MAY_LACK = {
    "DS_ACCELERATOR",
    "GRPC_ENABLE_FORK_SUPPORT",
    "PYTHONWARNINGS",
    "TORCHDYNAMO_DISABLE",
    "TORCH_CPP_LOG_LEVEL",
    "TRANSFORMERS_VERBOSITY",
    "VLLM_CONFIGURE_LOGGING",
    "VLLM_NO_USAGE_STATS",
}


def _no_hub() -> None:
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = True


# What libraries read while they are imported, and how a worker whose environment sets it to 1 gets it all the same.
_SET_AFTERWARDS = {"HF_HUB_OFFLINE": _no_hub}


def differing(here: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """The names of the variables for which a worker has to be a new interpreter."""
    return sorted(name for name in here.keys() | wanted.keys() if not _same(name, here.get(name), wanted.get(name)))


def _same(name: str, here: str | None, wanted: str | None) -> bool:
    if here == wanted or name in _READ_LATE or name.startswith("RAY_"):
        return True
    if wanted is None:
        return name in _MAY_LACK
    return here is None and wanted == "1" and name in _SET_AFTERWARDS


class Refused(Exception):
    """A worker that only a new interpreter can become; the text says why."""


class Worker:
    """A worker to be, as `enter.py` describes it. `before` is the environment in which this process has imported.

    Raises:
        Refused: it needs what this process is not: another language, command, or environment.
    """

    def __init__(self, asked: Mapping[str, Any], before: Mapping[str, str]) -> None:
        parser = argparse.ArgumentParser(exit_on_error=False)
        parser.add_argument("--serialized-runtime-env-context", default="{}")
        parser.add_argument("--language")
        known, self.command = parser.parse_known_args(asked["arguments"])
        context = json.loads(known.serialized_runtime_env_context or "{}")
        python = context.get("py_executable") or sys.executable
        if known.language != "PYTHON" or context.get("command_prefix") or context.get("override_worker_entrypoint"):
            raise Refused(f"its language is {known.language}, its command begins with {context.get('command_prefix')}")
        if python != sys.executable or not self.command or self.command[0].startswith("-"):
            raise Refused(f"it is to be run by {python} {' '.join(self.command[:1])}")
        more = context.get("env_vars") or {}
        if any("$" in value for value in more.values()):
            raise Refused("its environment is made of other variables")
        self.environment = {**asked["environment"], **more}
        if names := differing(before, self.environment):
            raise Refused(f"its environment differs in {', '.join(names)}")
        self.environment = {**_set_since(before), **self.environment}
        mine, its = (env.get("PYTHONPATH", "").split(os.pathsep) for env in (before, self.environment))
        self.path = [*filter(None, its), *(entry for entry in sys.path[1:] if entry not in mine)]
        self.directory, self.umask = asked["directory"], int(asked["umask"])
        self.nice, self.memory_score = int(asked["nice"]), int(asked["memory_score"])

    def become(self, standard: list[int]) -> None:
        """Make this process the worker: it returns when the worker has ended. `standard`: its three files."""
        for number, file in enumerate(standard):
            os.dup2(file, number)
            os.close(file)
        os.setpgid(0, 0)  # as the raylet does
        os.setpriority(os.PRIO_PROCESS, 0, max(self.nice, os.getpriority(os.PRIO_PROCESS, 0)))
        Path("/proc/self/oom_score_adj").write_text(str(self.memory_score))
        os.umask(self.umask)
        os.chdir(self.directory)
        os.environ.clear()
        os.environ.update(self.environment)
        for name, set_it in _SET_AFTERWARDS.items():
            if name in self.environment:
                set_it()
        if numpy := sys.modules.get("numpy"):
            numpy.random.seed()  # else all workers would draw the same
        sys.argv = list(self.command)
        sys.path[:] = [str(Path(self.command[0]).parent), *self.path]
        runpy.run_path(self.command[0], run_name="__main__")


def _set_since(before: Mapping[str, str]) -> dict[str, str]:
    """What modules have set in the environment while they were imported."""
    return {name: value for name, value in os.environ.items() if name not in before}


def _refuse_others(connection: socket.socket) -> None:
    _, user, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    if user != os.getuid():
        raise Refused(f"user {user} asks")


def _asked(connection: socket.socket, files: int) -> dict[str, Any]:
    """What `enter.py` sends after its `files`.

    Raises:
        Refused, ValueError: it is not what `enter.py` sends.
    """
    text = bytearray()
    while len(text) < _LARGEST and (part := connection.recv(1 << 16)):
        text += part
    if files != 3 or len(text) >= _LARGEST:
        raise Refused(f"{files} files and {len(text)} bytes")
    asked: dict[str, Any] = json.loads(text)
    return asked


def _answer(connection: socket.socket, before: Mapping[str, str]) -> tuple[Worker, list[int]] | None:
    """Fork one worker, or say only whether it would. In the new process, what it is to become; in this one nothing."""
    files: list[int] = []
    try:
        connection.settimeout(_READ_S)
        _refuse_others(connection)
        _, files, _, _ = socket.recv_fds(connection, 1, 3)
        asked = _asked(connection, len(files))
        worker = Worker(asked, before)
        if not asked.get("would") and os.fork() == 0:
            return worker, files
        connection.sendall(_FORKED)
    except (Refused, OSError, ValueError, KeyError, TypeError, argparse.ArgumentError) as error:
        print(f"refused: {error}", flush=True)
        with contextlib.suppress(OSError):  # it has gone
            connection.sendall(_REFUSED)
    for file in files:
        os.close(file)
    return None


def serve(listener: socket.socket, before: Mapping[str, str]) -> tuple[Worker, list[int]] | None:
    """Fork workers until standard input ends. Returns in every new process with what it is to become."""
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if listener in ready:
                connection, _ = listener.accept()
                with connection:
                    if (job := _answer(connection, before)) is not None:
                        return job
            elif not os.read(sys.stdin.fileno(), 1):
                return None


@contextlib.contextmanager
def _without_ray() -> Iterator[None]:
    """Whoever tries to import Ray within the block finds that it is not installed: it would read there, once and for
    all, which raylet and job its process is of."""
    sys.modules["ray"] = None  # type: ignore[assignment] # as the import system asks for
    try:
        yield
    finally:
        del sys.modules["ray"]


def main(path: str, modules: str) -> None:
    before = dict(os.environ)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(128)  # who comes while this imports waits
        with _without_ray():
            for module in modules.split(","):
                importlib.import_module(module)
        gc.collect()
        gc.freeze()  # else a worker's first collection would copy every page
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a worker that has ended
        print("ready", flush=True)
        job = serve(listener, before)
    if job is None:
        shutil.rmtree(Path(path).parent, ignore_errors=True)  # whoever began this may be gone
        os._exit(0)  # some libraries complain of what is left when an interpreter ends
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    atexit.register(gc.unfreeze)
    worker, files = job
    worker.become(files)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
