"""Begin and end the fork server, and have Ray ask it."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from actors.preloaded.enter import SOCKET, answer, asked
from actors.preloaded.variable import variable

MODULES = (
    "torch",
    "transformers",
    "transformers.models.clip.modeling_clip",
    "transformers.models.t5.modeling_t5",
    "diffusers",
    "diffusers.pipelines.flux.pipeline_flux_kontext",
    "peft",
    "deepspeed",
    "pyarrow.parquet",
    "vllm.v1.engine.async_llm",
    "vllm.v1.worker.cpu_worker",
    "vllm.entrypoints.openai.api_server",
    "gymnasium",
    "httpx",
    "rich",
)
"""What the workers of a run import: nothing of this repository, so that its code is that of the worker's own path."""

# Of VLM replicas. Others may lack them.
_QUIET = {
    "GRPC_ENABLE_FORK_SUPPORT": "0",
    "PYTHONWARNINGS": "ignore::FutureWarning",
    "TORCHDYNAMO_DISABLE": "1",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "TRANSFORMERS_VERBOSITY": "error",
    "VLLM_CONFIGURE_LOGGING": "0",
    "VLLM_NO_USAGE_STATS": "1",
}
_HERE = Path(__file__).parent
_END_S = 10.0
_LISTENS_S = 10.0  # after it was begun
_POLL_S = 0.1
_ANY_WORKER = "default_worker.py"
_ROOM_FOR_TITLE = "." * 256  # a worker's title is written over its command line
_log = logging.getLogger(__name__)


class ForkServer:
    """A fork server that imports `modules` and, once it has, forks workers with them. It ends with this process, or by
    `close`; workers that it has forked go on. `environment` is what the workers have besides that of this process.

    It is asked through a socket in a folder that only this user can enter.
    """

    def __init__(self, environment: Mapping[str, str], modules: Sequence[str] = MODULES) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="rlrig-"))
        self.socket = self._folder / "socket"
        self.log = self._folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(_HERE / "server.py"), str(self.socket), ",".join(modules), _ROOM_FOR_TITLE],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**_QUIET, **os.environ, **environment},
                start_new_session=True,  # Ctrl-C in a terminal is for this process, which then ends it
            )
        atexit.register(self.close)

    def close(self) -> None:
        """End it, and say so where it had already ended."""
        if not self._folder.exists():
            return
        atexit.unregister(self.close)
        if self.process.poll() is not None:
            _log.warning(
                "Workers were started in new interpreters, which takes longer: %s", self.log.read_text()[-500:]
            )
        self.process.kill()  # it holds nothing, and may be importing for seconds yet
        self.process.wait(_END_S)
        assert self.process.stdin is not None
        self.process.stdin.close()
        shutil.rmtree(self._folder)


_of_process: dict[frozenset[tuple[str, str]], ForkServer] = {}


def server_of_process(environment: Mapping[str, str]) -> ForkServer:
    """The fork server for this environment that this process began before, if it still lives, or a new one: one Ray
    after another shares it."""
    key = frozenset(environment.items())
    if key not in _of_process or _of_process[key].process.poll() is not None:
        for server in _of_process.values():
            server.close()
        _of_process.clear()
        _of_process[key] = ForkServer(environment)
    return _of_process[key]


def lent_socket(environment: Mapping[str, str]) -> Path | None:
    """The socket of a fork server that a process above this one has begun and lends by `RLRIG_PRELOADED`, if it forks
    workers with this environment: one command after another shares it. The lender ends it."""
    path = os.environ.get(SOCKET)
    if path is None:
        return None
    question = {**asked([_ANY_WORKER, "--language=PYTHON"]), "would": True}
    question["environment"] = {**os.environ, **environment}
    ends = time.monotonic() + _LISTENS_S
    while Path(path).parent.exists():  # until its lender ends
        try:
            return Path(path) if answer(path, question) else None
        except OSError:
            if time.monotonic() >= ends:
                break
            time.sleep(_POLL_S)
    return None


def no_gpu_here() -> bool:
    """Whether this machine has none: forking was not tried where CUDA's libraries are loaded."""
    return not any(Path("/dev").glob("nvidia[0-9]*"))


@contextmanager
def workers_forked_by(server: Path) -> Iterator[None]:
    """A Ray that is started within the block takes its workers from the server at this socket, as long as it lives."""
    from ray._private import parameter

    ray_s = parameter.RayParams
    parameter.RayParams = partial(ray_s, setup_worker_path=str(_HERE / "enter.py"))
    try:
        with variable(SOCKET, str(server)):
            yield
    finally:
        parameter.RayParams = ray_s
