"""The sizes of a run's fleets while it trains: the backlog is looked at, and each role's pool follows it.

Growing asks Ray for more actors, and an actor that waits for a place is demand that Ray's autoscaler reads. There is no
need of `ray.autoscaler.sdk.request_resources`: what it asks for outlives a driver that crashes, a job's actors do not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from presets.planning.demand import ranges
from rollout.elastic.pool import Pool, Workers
from rollout.elastic.replicas import Replicas
from rollout.elastic.runners import Runners

if TYPE_CHECKING:
    from ray.rllib.env.env_runner_group import EnvRunnerGroup

    from presets.run_config import RunConfig
    from rollout.groups.stream import GroupStream
    from rollout.models import Models

_EVERY_S = 0.5


class Elastic:
    """Changes the fleets of `models` and RLlib's group of EnvRunners, where the configuration gives them a range.

    Args:
        run: the configuration.
        models: of the driver.
        runners: RLlib's group.
        stream: gives the stream of groups.
        note: hears of each change.
    """

    def __init__(
        self,
        run: RunConfig,
        models: Models,
        runners: EnvRunnerGroup,
        stream: Callable[[], GroupStream],
        note: Callable[[str], None],
    ) -> None:
        self._models, self._runners, self._stream = models, runners, stream
        self._ranges = ranges(run)
        self._next = 0.0
        made: dict[str, Callable[[], Workers[Any]]] = {
            "diffuser": lambda: Replicas(models.diffuser, stream),
            "editor": lambda: Replicas(models.editor, stream, "editor", models.board),
            "env_runner": lambda: Runners(runners, stream),
        }
        times = {"idle_s": run.elastic.idle_s, "drain_s": run.elastic.drain_s, "restart_s": run.rollout.restart_s}
        self._pools = {
            role: Pool(role, self._ranges[role], make(), **times, note=note)
            for role, make in made.items()
            if self._ranges[role].elastic
        }

    def follow(self) -> None:
        """Let every role follow the backlog; it never waits. To be called often."""
        now = time.monotonic()
        if not self._pools or now < self._next:
            return
        self._next = now + _EVERY_S
        stream = self._stream()
        prompts = stream.waiting + stream.in_flight
        for pool in self._pools.values():
            pool.follow(prompts, now)

    def make_room(self) -> None:
        """Take back what was asked for and has no place yet, because something else needs one first."""
        for pool in self._pools.values():
            pool.take_back_asked_for()

    def workers(self) -> dict[str, int]:
        """Members of each role now."""
        return {
            "diffuser": len(self._models.diffuser),
            "editor": len(self._models.editor),
            "env_runner": len(self._runners._worker_manager.healthy_actor_ids()),
        }

    def wanted(self) -> dict[str, int]:
        """Members that each role should have."""
        pools = self._pools
        return {role: pools[role].wanted if role in pools else self._ranges[role].least for role in self._ranges}

    def close(self) -> None:
        """End the workers that are no members; the others end with their fleets."""
        for pool in self._pools.values():
            pool.close()
