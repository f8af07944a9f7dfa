"""Which EnvRunners are there, and where they run."""

from __future__ import annotations

import time

import ray
from ray.exceptions import RayError
from ray.rllib.utils.actor_manager import FaultTolerantActorManager

from presets.errors import RunFailed
from rollout.groups.sampling_call import site_of

_PROBE_EVERY_S = 1.0
_PING_S = 0.5


class Presence:
    """Asks those that are gone whether they are back, from time to time, and gives up where none is there for too long.

    Args:
        runners: RLlib's manager of the EnvRunners.
        deadline_s: seconds without any.
    """

    def __init__(self, runners: FaultTolerantActorManager, deadline_s: float) -> None:
        self._runners, self._deadline_s = runners, deadline_s
        self._sites: dict[int, ray.ObjectRef] = {}
        self._next_probe = 0.0
        self._none_since: float | None = None

    def now(self) -> set[int]:
        """Those that are healthy as far as is known."""
        return set(self._runners.healthy_actor_ids())

    def probed(self) -> set[int]:
        """The same, after those that are not have been asked where it is time to."""
        if len(self.now()) < self._runners.num_actors() and time.monotonic() >= self._next_probe:
            self._runners.probe_unhealthy_actors(timeout_seconds=_PING_S, mark_healthy=True)
            self._next_probe = time.monotonic() + _PROBE_EVERY_S
        return self.now()

    def end(self, runner: int) -> None:
        """End the process of one. It is asked for later, since the old process may still answer for a moment."""
        ray.kill(self._runners.actors()[runner], no_restart=False)
        self._runners.set_actor_state(runner, healthy=False)
        self._next_probe = time.monotonic() + _PROBE_EVERY_S

    def arrived(self, runner: int) -> None:
        """One is taken into service: ask where it runs."""
        self._sites[runner] = self._runners.actors()[runner].apply.remote(site_of)

    def place(self, runner: int) -> str:
        """Where one runs, or ran, as it said when it was taken into service."""
        answer = self._sites.get(runner)
        if answer is None or not ray.wait([answer], timeout=0)[0]:
            return "it has not said where it runs"
        try:
            return str(ray.get(answer, timeout=_PING_S))
        except RayError as error:
            return f"it ended before it could say where it runs: {type(error).__name__}"

    def refuse_absence(self, last_error: str) -> None:
        """Give up where none has been there for too long.

        Raises:
            RunFailed: that is so.
        """
        if self.now():
            self._none_since = None
            return
        now = time.monotonic()
        self._none_since = self._none_since or now
        if now - self._none_since > self._deadline_s:
            raise RunFailed(f"no EnvRunner has been there for rollout.deadline_s = {self._deadline_s} s; {last_error}")
