"""Ray for one run: started on this machine, or a cluster that is joined; nothing is left running."""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from actors.preloaded.start import lent_socket, no_gpu_here, server_of_process, workers_forked_by
from actors.preloaded.variable import variable
from presets.checks import cpu_demand
from presets.errors import BadInput

if TYPE_CHECKING:
    from presets.run_config import RunConfig
    from presets.settings import RayConfig

WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "RLRIG_WORKER": "1",
    # What Serve's HTTP proxy calls when it starts, so that it keeps limits; and it trusts no `X-Forwarded-For`.
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serving.proxy.limits.guard",
    "FORWARDED_ALLOW_IPS": "",
}

# A Ray that is started here begins without workers, for which `ray.init` would wait and which lack the environment of a
# run's. And it remembers little of what has ended, so that its memory is level within hours, not days.
_HERE = {
    "RAY_prestart_worker_first_driver": "0",
    "RAY_task_events_max_num_task_in_gcs": "2000",
    "RAY_maximum_gcs_destroyed_actor_cached_count": "1000",
}
_RECORDER = "RAY_enable_open_telemetry"
_CLUSTERS = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # 0: a Ray of one machine, as on Windows and macOS
NODE_GROUP = "ray.io/node-group"
"""A label that Ray sets on nodes which an autoscaler or KubeRay started."""
BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")
"""What `ray up` leaves on the head node; Ray Tune, too, takes it for the sign of an autoscaler."""


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
    with variable(_RECORDER, "0"):
        yield


def worker_environment(gpu_learner: bool) -> dict[str, str]:
    """Environment variables of every process that Ray starts for a run. DeepSpeed is kept off GPUs that are there
    unless a learner trains on some; then each learner's ranks say for themselves."""
    return {**WORKER_ENVIRONMENT, **({} if gpu_learner else {"DS_ACCELERATOR": "cpu"})}


def fork_server(config: RayConfig, gpu_learner: bool = False) -> Path | None:
    """The socket of what imports for the workers of the Ray that this process will start, from now on and beside
    whatever this process does until then. None where `ray.preload` cannot be had."""
    if config.address is not None or not config.preload or not no_gpu_here():
        return None
    environment = worker_environment(gpu_learner)
    return lent_socket(environment) or server_of_process(environment).socket


def port_is_free(port: int) -> bool:
    """Whether this machine can listen on this port of the loopback interface."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _refuse_large_store(gib: float) -> None:
    import psutil

    free = psutil.virtual_memory().available / 2**30
    if gib >= free:
        raise BadInput(
            f"ray.object_store_gib: {gib:g} is refused: this machine has {free:.1f} GiB of free memory; set less, as "
            "--set ray.object_store_gib=1.0"
        )


def start_ray(config: RayConfig, gpu_learner: bool = False) -> None:
    """Start Ray on this machine, or join the cluster at `config.address`. `gpu_learner` says whether a learner trains
    on GPUs.

    A Ray instance that already runs on the machine is not touched: without an address a new one is started.

    Raises:
        BadInput: the dashboard's port is taken, the object store is larger than the free memory, or no cluster answers
            at the address.
    """
    if config.address is None:
        _refuse_large_store(config.object_store_gib)
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
        for name, value in _HERE.items():
            os.environ.setdefault(name, value)
        server = fork_server(config, gpu_learner)
        with workers_forked_by(server) if server else nullcontext():
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


@contextmanager
def ray_for_run(config: RayConfig, gpu_learner: bool = False) -> Iterator[None]:
    """Ray as `start_ray` starts or joins it for the block, left after it. One that is started listens on loopback
    alone. Raises as `start_ray`."""
    import ray

    with _on_loopback() if config.address is None else nullcontext():
        start_ray(config, gpu_learner)
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _on_loopback() -> Iterator[None]:
    """A Ray that is started within the block keeps to this machine. On Linux its GCS, raylet and metrics otherwise take
    connections from everywhere, and whoever reaches the GCS can run code. The environment tells Ray's other processes;
    this one has read it when it imported Ray. Leave the block when that Ray has ended: to one that joins a cluster, the
    node of this machine would be another."""
    from ray._private import ray_constants

    clusters = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        with variable(_CLUSTERS, "0"):
            yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = clusters


def ray_of_library(config: RunConfig) -> None:
    """For an algorithm that a program of the user's builds: the Ray that the program runs, or one that is started as
    the run file says.

    Raises:
        BadInput: the program's Ray has fewer CPUs than the run asks for, and no autoscaler that could bring more; or as
            `start_ray`.
    """
    import ray

    if not ray.is_initialized():
        start_ray(config.ray, config.gpu_learner)
        return
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if any(NODE_GROUP in node["Labels"] for node in nodes) or BOOTSTRAP.expanduser().is_file():
        return
    there = sum(node["Resources"].get("CPU", 0.0) for node in nodes)
    demand = cpu_demand(config)
    if sum(demand.values()) > there:
        roles = ", ".join(f"{role} {cpus:g}" for role, cpus in demand.items())
        raise BadInput(
            f"Ray has {there:g} CPUs, and this run asks for {sum(demand.values()):g} ({roles}): workers would wait for "
            f"ever. Call ray.init(num_cpus={math.ceil(sum(demand.values()))}) before, which may be more than there are "
            "cores, or no ray.init at all; or lower the workers or their cpus with reflection(overrides=[...])"
        )
