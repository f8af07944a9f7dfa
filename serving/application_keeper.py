"""Takes a run's Serve applications away when its driver has crashed on a cluster that lives on.

Serve's controller belongs to no job, so that what it serves outlives the driver that deployed it, and holds its nodes.
The keeper belongs to no job either. It watches one, and ends itself when that has ended.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

import ray
from ray import serve
from ray._raylet import GcsClient
from ray.exceptions import RayError
from ray.util import list_named_actors
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from serving.serve_controller import serve_applications

_NAMESPACE = "rlrig-keepers"
_PREFIX = "keeper-of-job-"
_EVERY_S = 1.0
_CLOCKS_S = 60.0  # two nodes' clocks may differ
_GCS_S = 10.0


class _Keeper:
    """Watches from a thread of its own, as no call of a driver that is gone could be relied on."""

    def __init__(self, job: str, names: Sequence[str], since: float) -> None:
        self._job, self._names, self._since = job, list(names), since
        self._deployed: dict[str, float] | None = None
        threading.Thread(target=self._watch, daemon=True).start()

    def __repr__(self) -> str:
        return "ApplicationKeeper"  # in Ray's dashboard and logs

    def watch_these(self, deployed: dict[str, float]) -> None:
        self._deployed = deployed

    def _watch(self) -> None:
        while True:
            time.sleep(_EVERY_S)
            try:
                ended = ended_jobs()
                if self._job in ended:
                    self._take_away(ended[self._job])
                    break
            except Exception:  # the head may be starting again; a keeper that gave up would leave everything
                logging.getLogger(__name__).exception("a keeper tries again")
        ray.kill(ray.get_runtime_context().current_actor)

    def _take_away(self, ended: float) -> None:
        """Delete what the job deployed, and Serve with it if it serves nothing else."""
        there = {name: found.last_deployed_time_s for name, found in serve_applications().items()}
        ours = [name for name, at in there.items() if name in self._names and self._is_ours(name, at, ended)]
        if there and ours == list(there):
            serve.shutdown()
            return
        for name in ours:
            serve.delete(name)

    def _is_ours(self, name: str, deployed: float, ended: float) -> bool:
        """Another run may have deployed one of the same name in the meantime, which is then its own."""
        if self._deployed is not None:
            return self._deployed.get(name) == deployed
        return self._since - _CLOCKS_S <= deployed <= ended


class ApplicationKeeper:
    """The driver's side of a keeper. It can be pickled."""

    def __init__(self, names: Sequence[str], actor: ray.actor.ActorHandle) -> None:
        self._names, self._actor = list(names), actor

    @classmethod
    def start(cls, names: Sequence[str], deadline_s: float) -> ApplicationKeeper:
        """Watch over applications that this job is about to deploy, once those of runs that crashed are gone: their
        keepers must not meet them under the same names.

        Args:
            names: of the applications.
            deadline_s: seconds that the keepers of other runs may take.

        Raises:
            TimeoutError: one of them did not come to its end in time.
        """
        ends = time.monotonic() + deadline_s
        while left := _keepers_at_work():
            if time.monotonic() > ends:
                raise TimeoutError(
                    f"{', '.join(left)}: what a run before has left in Serve was not taken away within {deadline_s:g} "
                    f"s; `serve shutdown` does it by force, and ray.kill ends these actors of namespace {_NAMESPACE}"
                )
            time.sleep(_EVERY_S)
        context = ray.get_runtime_context()
        here = NodeAffinitySchedulingStrategy(context.get_node_id(), soft=True)
        options: dict[str, Any] = {
            "name": f"{_PREFIX}{context.get_job_id()}",
            "namespace": _NAMESPACE,
            "lifetime": "detached",
            "num_cpus": 0,
            "max_restarts": -1,
            "get_if_exists": True,
            "scheduling_strategy": here,  # a hint; the keeper must not be lost with the driver's node
        }
        actor = ray.remote(_Keeper).options(**options).remote(context.get_job_id(), list(names), time.time())
        return cls(names, actor)

    def watch_these(self) -> None:
        """The applications are deployed; from now on the keeper knows them by the time of that, and no others."""
        there = serve_applications()
        deployed = {name: there[name].last_deployed_time_s for name in self._names if name in there}
        self._actor.watch_these.remote(deployed)

    def close(self) -> None:
        """End the keeper; the driver has taken the applications away itself."""
        ray.kill(self._actor)


def ended_jobs() -> dict[str, float]:
    """When each job of this cluster ended that has, in seconds since 1970, by its id.

    Raises:
        RayError: the head does not say.
    """
    found = GcsClient(address=ray.get_runtime_context().gcs_address).get_all_job_info(timeout=_GCS_S)
    return {job.hex(): info.end_time / 1000 for job, info in found.items() if info.is_dead}


def _keepers_at_work() -> list[str]:
    """Keepers whose job has ended."""
    try:
        named = list_named_actors(all_namespaces=True)
        ended = ended_jobs()
    except RayError:
        return []
    names = [actor["name"] for actor in named if actor["namespace"] == _NAMESPACE]
    return [name for name in names if name.removeprefix(_PREFIX) in ended]
