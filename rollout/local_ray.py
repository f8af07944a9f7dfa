"""Ray for one run: started on this machine, or a cluster that is joined; nothing is left running."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rollout.errors import BadInput

if TYPE_CHECKING:
    from rollout.config import RayConfig

WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "RLRIG_WORKER": "1",
}

# What a Ray that is started here remembers of what has ended, so that its memory is level within hours, not days.
_BOUNDS_HERE = {
    "RAY_task_events_max_num_task_in_gcs": "2000",
    "RAY_maximum_gcs_destroyed_actor_cached_count": "1000",
}
_RECORDER = "RAY_enable_open_telemetry"


@contextmanager
def only_ray_of_process(config: RayConfig) -> Iterator[None]:
    """For a command, whose process starts one Ray and ends with it: the Ray that is started within the block forgets
    the metrics of an ended process after two minutes. Its OpenTelemetry recorder, which this turns off, keeps them for
    ever, some 50 kB for each process that ever was. Joining a cluster changes nothing, since both sides must agree on
    the recorder.

    A process that starts another Ray later may not use this: without that recorder it would export no metrics, and
    changing the recorder between two of them can end the process.
    """
    if config.address is not None or _RECORDER in os.environ:
        yield
        return
    os.environ[_RECORDER] = "0"
    try:
        yield
    finally:
        del os.environ[_RECORDER]


def worker_environment(gpu_learner: bool) -> dict[str, str]:
    """Environment variables of every process that Ray starts for a run. DeepSpeed is kept off GPUs that are there
    unless a learner trains on some; then each learner's ranks say for themselves."""
    return {**WORKER_ENVIRONMENT, **({} if gpu_learner else {"DS_ACCELERATOR": "cpu"})}


def port_is_free(port: int) -> bool:
    """Whether this machine can listen on this port of the loopback interface."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def ray_for_run(config: RayConfig, gpu_learner: bool = False) -> Iterator[None]:
    """Start Ray (or join the cluster at `config.address`) for the block, and leave it after. `gpu_learner` says whether
    a learner trains on GPUs.

    A Ray instance that already runs on the machine is not touched: without an address the run starts its own.

    Raises:
        BadInput: the dashboard's port is taken, or no cluster answers at the address.
    """
    if config.address is None and config.dashboard and not port_is_free(config.ports.dashboard):
        raise BadInput(
            f"ray.ports.dashboard: {config.ports.dashboard} is taken by another process; choose another port with "
            "--set ray.ports.dashboard=N, or --set ray.dashboard=false"
        )
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.getLogger("ray").setLevel(logging.ERROR)
    import ray.serve  # here, because it sets the level of its own logger when it is imported

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    common = {
        "runtime_env": {"env_vars": worker_environment(gpu_learner)},
        "logging_level": logging.ERROR,
        "log_to_driver": bool(os.environ.get("RLRIG_WORKER_LOGS")),
    }
    on_terminate = signal.getsignal(signal.SIGTERM)
    if config.address is None:
        for name, value in _BOUNDS_HERE.items():
            os.environ.setdefault(name, value)
        ray.init(
            address="local",
            num_cpus=config.num_cpus,
            object_store_memory=int(config.object_store_gib * 2**30),
            include_dashboard=config.dashboard,
            dashboard_host="127.0.0.1",
            dashboard_port=config.ports.dashboard if config.dashboard else None,
            **common,
        )
    else:
        try:
            ray.init(address=config.address, **common)
        except ConnectionError as error:
            raise BadInput(f"ray.address: no cluster answers at {config.address!r}: {error}") from error
    if threading.current_thread() is threading.main_thread() and on_terminate is not None:
        signal.signal(signal.SIGTERM, on_terminate)  # Ray's own handler would end this process and orphan the others
    try:
        yield
    finally:
        ray.shutdown()
