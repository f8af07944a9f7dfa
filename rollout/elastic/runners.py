"""RLlib's EnvRunners as the workers of a pool."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ray
from ray.actor import ActorHandle
from ray.rllib.env.env_runner_group import EnvRunnerGroup

from rollout.elastic.arrival import Arrival, Questions
from rollout.groups.sampling_call import site_of
from rollout.groups.stream import GroupStream


class Runners:
    """Lets EnvRunners into RLlib's group and out of it. They hold no state, so that one is ready once it answers.

    Args:
        group: RLlib's.
        stream: gives the stream of groups, which hands them their jobs.
    """

    def __init__(self, group: EnvRunnerGroup, stream: Callable[[], GroupStream]) -> None:
        self._group, self._manager, self._stream = group, group._worker_manager, stream
        self._handles: dict[str, ActorHandle] = {}  # of those that are no members
        self._arrivals: dict[str, Arrival] = {}
        self._leaving: dict[str, int] = {}
        self._names: dict[int, str] = {number: f"EnvRunner-{number}" for number in self._manager.actor_ids()}
        self._made = len(self._names)

    def members(self) -> Sequence[str]:
        """See `Workers`. Those without a job are the first to go, and of these the newest."""
        there = [number for number in self._manager.actor_ids() if self._names[number] not in self._leaving]
        return [self._names[number] for number in sorted(there, key=lambda n: not self._stream().holds_job(n))]

    def start(self) -> str:
        """See `Workers`."""
        self._made += 1
        group, number = self._group, self._made
        actor_class = ray.remote(**group._remote_args)(group.env_runner_cls)
        handle = actor_class.options(scheduling_strategy="DEFAULT").remote(
            config=group._remote_config_obj_ref, worker_index=number, num_workers=number
        )
        return self._expect(f"EnvRunner-{number}", handle)

    def ready(self, name: str) -> bool:
        """See `Workers`."""
        return self._arrivals[name].complete()

    def join(self, name: str) -> None:
        """See `Workers`. The stream takes it into service."""
        del self._arrivals[name]
        before = set(self._manager.actor_ids())
        self._manager.add_actors([self._handles.pop(name)])
        (number,) = set(self._manager.actor_ids()) - before
        self._names[number] = name

    def lost(self) -> Sequence[str]:
        """See `Workers`. The last one stays, and RLlib finds it again."""
        healthy = set(self._manager.healthy_actor_ids())
        found = []
        for number in self._manager.actor_ids():
            name = self._names[number]
            if number not in healthy and name not in self._leaving and self._manager.num_actors() > 1:
                self._stream().release_runner(number)
                found.append(self._expect(name, self._remove(number)))
        return found

    def leave(self, name: str) -> None:
        """See `Workers`."""
        self._leaving[name] = self._number(name)
        self._stream().close_runner(self._leaving[name])

    def idle(self, name: str) -> bool:
        """See `Workers`."""
        return not self._stream().holds_job(self._leaving[name])

    def end(self, name: str) -> None:
        """See `Workers`."""
        self._arrivals.pop(name, None)
        number = self._leaving.pop(name, None)
        if number is not None:
            self._stream().release_runner(number)
            self._handles[name] = self._remove(number)
        ray.kill(self._handles.pop(name))

    def _expect(self, name: str, handle: ActorHandle) -> str:
        self._handles[name] = handle
        self._arrivals[name] = Arrival(lambda: self._questions(handle))
        return name

    @staticmethod
    def _questions(handle: ActorHandle) -> Questions:
        yield handle.apply.remote(site_of)

    def _remove(self, number: int) -> ActorHandle:
        del self._names[number]
        return self._manager.remove_actor(number)

    def _number(self, name: str) -> int:
        return next(number for number, known in self._names.items() if known == name)
