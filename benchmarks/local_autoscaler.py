"""A cluster on this machine whose nodes come and go by Ray's real autoscaler: its nodes are sets of Ray processes.

`ray.cluster_utils.AutoscalingCluster` begins and ends with `ray stop --force`, which ends every Ray on the machine, and
takes port 6379. This one has ports and a folder of its own, and ends what it started and nothing else.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID
from ray.cluster_utils import AutoscalingCluster

from experiments.faults.processes import title

_MARK = "RLRIG_LOCAL_AUTOSCALER"
_START_S, _END_S = 180.0, 30.0
_PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"


class LocalAutoscaler(AutoscalingCluster):
    """One head, and up to `most` nodes more of the kind `worker`.

    Args:
        head, worker: resources of the head and of each other node, by Ray's names; the head's CPU is a whole number.
        most: nodes that the autoscaler may add.
        idle_s: seconds after which it takes an idle node away.
        environment: variables of every process of the cluster.

    Attributes:
        address: HOST:PORT of the head, for `ray.init` and `ray.address`.
    """

    def __init__(
        self,
        head: Mapping[str, float],
        worker: Mapping[str, float],
        most: int,
        idle_s: float = 6.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._host = "127.0.0.1"
        self._ports = _free_ports(5)
        self.address = f"{self._host}:{self._ports[0]}"
        self._folder = Path(tempfile.mkdtemp(prefix="rlrig-as-"))
        self._environment = dict(environment or {})
        types = {"worker": {"resources": dict(worker), "node_config": {}, "min_workers": 0, "max_workers": most}}
        super().__init__(
            dict(head),
            types,
            autoscaler_v2=True,
            max_workers=most,
            idle_timeout_minutes=idle_s / 60,
            upscaling_speed=10,
        )

    def _generate_config(
        self,
        head_resources: dict[str, Any],
        worker_node_types: dict[str, Any],
        autoscaler_v2: bool = False,
        **config_kwargs: Any,
    ) -> dict[str, Any]:
        # The base class reads an example.yaml, which Ray's wheel does not hold.
        types = copy.deepcopy(worker_node_types)
        types["ray.head.default"] = {"resources": dict(head_resources), "node_config": {}, "max_workers": 0}
        return {
            "cluster_name": "local-autoscaler",
            "provider": {
                "type": "external",
                "module": _PROVIDER,
                "head_node_id": FAKE_HEAD_NODE_ID,
                "gcs_address": self.address,
                "launch_multiple": True,
                "disable_node_updaters": True,
                "disable_launch_config_check": True,
            },
            "available_node_types": types,
            "head_node_type": "ray.head.default",
            "auth": {},
            "docker": {},
            "initialization_commands": [],
            "setup_commands": [],
            "head_setup_commands": [],
            "worker_setup_commands": [],
            "head_start_ray_commands": [],
            "worker_start_ray_commands": [],
            "file_mounts": {},
            "cluster_synced_files": [],
            "file_mounts_sync_continuously": False,
            "rsync_exclude": [],
            "rsync_filter": [],
            **config_kwargs,
        }

    def start(self, _system_config: dict[str, Any] | None = None, override_env: dict[str, str] | None = None) -> None:
        """Start the head.

        Raises:
            RuntimeError: it did not start; the message holds what it said.
        """
        config = self._folder / "autoscaler.json"
        config.write_text(json.dumps(self._config), encoding="utf-8")
        gcs, dashboard, client, agent, metrics = self._ports
        resources = dict(self._head_resources)
        command = [
            sys.executable,
            "-c",
            "from ray.scripts.scripts import main; main()",
            "start",
            "--head",
            f"--node-ip-address={self._host}",
            f"--port={gcs}",
            f"--dashboard-port={dashboard}",
            f"--ray-client-server-port={client}",
            f"--dashboard-agent-listen-port={agent}",
            f"--metrics-export-port={metrics}",
            "--min-worker-port=0",
            "--max-worker-port=0",
            f"--temp-dir={self._folder}",
            f"--autoscaling-config={config}",
            "--disable-usage-stats",
            f"--num-cpus={resources.pop('CPU', 0):g}",
            f"--num-gpus={resources.pop('GPU', 0):g}",
            f"--object-store-memory={int(resources.pop('object_store_memory', 200 << 20))}",
        ]
        if resources:
            command.append(f"--resources={json.dumps(resources)}")
        if _system_config:
            command.append(f"--system-config={json.dumps(_system_config, separators=(',', ':'))}")
        environment = {
            **os.environ,
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_FAKE_CLUSTER": "1",
            "RAY_enable_autoscaler_v2": "1",
            "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
            "RAY_AUTH_MODE": "disabled",
            "RAY_worker_niceness": "0",
            "OMP_NUM_THREADS": "1",
            _MARK: self._folder.name,
            **self._environment,
            **(override_env or {}),
        }
        for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
            environment.pop(name, None)
        with (self._folder / "start.log").open("w") as log:
            done = subprocess.run(command, env=environment, stdout=log, stderr=log, timeout=_START_S, check=False)
        if done.returncode:
            said = (self._folder / "start.log").read_text()[-2000:]
            self.shutdown()
            raise RuntimeError(f"the head of the local cluster did not start (exit code {done.returncode}): {said}")

    def shutdown(self) -> None:
        """End every process of this cluster, and remove its folder."""
        for _ in range(5):  # a process may start another one meanwhile
            found = self.processes()
            if not found:
                break
            for process in found:
                _kill(process)
            psutil.wait_procs(found, timeout=_END_S)
        shutil.rmtree(self._folder, ignore_errors=True)

    def processes(self) -> list[psutil.Process]:
        """Every process of this cluster, whichever node it belongs to."""
        found: dict[int, psutil.Process] = {}
        for process in psutil.process_iter():
            try:
                ours = str(self._folder) in title(process)
                if ours or process.environ().get(_MARK) == self._folder.name:
                    found |= {p.pid: p for p in (process, *process.children(recursive=True))}
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return [p for p in found.values() if p.pid != os.getpid() and _alive(p)]

    def kill_node(self, node: str) -> None:
        """End all processes of the node with this id (hexadecimal) without a word, as a spot interruption does.

        Raises:
            ValueError: no raylet here has that id.
        """
        raylets = [p for p in self.processes() if _is_raylet(p, node)]
        if not raylets:
            raise ValueError(f"node {node}: no raylet of this cluster has that id")
        family = [p for raylet in raylets for p in (raylet, *raylet.children(recursive=True))]
        for process in family:
            _kill(process)
        ends = time.monotonic() + _END_S
        while any(_alive(process) for process in family) and time.monotonic() < ends:
            time.sleep(0.05)

    @property
    def folder(self) -> Path:
        """Where its logs are, until `shutdown`."""
        return self._folder

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()


def _is_raylet(process: psutil.Process, node: str) -> bool:
    try:
        words = process.cmdline()
        return bool(words) and words[0].endswith("/raylet") and any(node in word for word in words)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _kill(process: psutil.Process) -> None:
    try:
        os.kill(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
