"""The stream of groups: prompts go out to EnvRunners, what they sampled comes back, whatever ends on the way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError
from ray.rllib.utils.actor_manager import FaultTolerantActorManager

from actors.site import end_of
from presets.errors import RunFailed
from rewards.scales import Scales
from rollout.groups.no_signal import SignalWatch, teaches
from rollout.groups.sampler import Job, Started
from rollout.groups.sampling_call import Sample, SamplingCall, SamplingError, site_of
from rollout.incidents import Incidents
from rollout.scheduling.assignment import Assignment, Outcome
from rollout.scheduling.scheduler import Scheduler
from rollout.trajectory import Turn, from_table, write_parquet

if TYPE_CHECKING:
    from presets.settings import RolloutConfig
    from scenes.scene_graph import SceneGraph

_TAG = "sample"
_READMIT_EVERY_S = 1.0
_PING_S = 0.5


class GroupStream:
    """Keeps EnvRunners sampling ahead of the learner, as far as the scheduler allows.

    Nothing here waits for long: `pump` does what can be done now. An EnvRunner holds one job at a time. One that dies,
    or whose job is late, is started again by Ray, and its prompts are sampled anew, with the same seeds. So is one
    whose jobs failed twice in a row, since the reason may lie in its process, such as memory that it cannot get.

    Args:
        runners: RLlib's manager of the EnvRunners.
        scheduler: which prompts, which groups; without workers.
        prompt_at: the scene graph at a position of the run's stream of prompts.
        sample: is called in an EnvRunner, with it and a job; returns a trajectory table.
        run, seed: name and seed of the run.
        settings: how episodes are collected.

    Attributes:
        jobs: jobs that were sent so far.
        restarts: EnvRunners that ended so far.
        incidents: what their jobs met and mended so far.
        requeued: prompts so far that had to be sampled anew.
        scales: means and deviations of the scorers' values in the updates so far.
    """

    def __init__(
        self,
        runners: FaultTolerantActorManager,
        scheduler: Scheduler[int, list[Turn]],
        prompt_at: Callable[[int], SceneGraph],
        sample: Sample,
        run: str,
        seed: int,
        settings: RolloutConfig,
    ) -> None:
        self._runners, self._scheduler = runners, scheduler
        self._prompt_at, self._sample = prompt_at, sample
        self._run, self._seed, self._settings = run, seed, settings
        self._waiting: dict[int, list[Assignment[int]]] = {}  # assigned to a runner that is busy
        self._sent: dict[int, list[Assignment[int]]] = {}
        self._numbers: dict[int, int] = {}  # of the job that a runner holds
        self._closed: set[int] = set()
        self._late: dict[int, str] = {}  # why a runner is being ended
        self._failing: set[int] = set()  # the last job of these has failed
        self._signal = SignalWatch(settings)
        self._last_error = "none of them answered"
        self._without_runner_since: float | None = None
        self._next_readmission = 0.0
        self._admitted: set[int] = set()
        self._sites: dict[int, ray.ObjectRef] = {}
        self.jobs = self.restarts = self.requeued = 0
        self.incidents = Incidents()
        self.scales = Scales()

    @property
    def ready(self) -> bool:
        """Whether the groups of an update are complete."""
        return self._scheduler.ready

    @property
    def in_flight(self) -> int:
        """Prompts that an EnvRunner holds."""
        return sum(len(assignments) for assignments in self._sent.values())

    @property
    def waiting(self) -> int:
        """Prompts that may be sampled and that no EnvRunner holds yet."""
        return self._scheduler.gate.capacity() + sum(len(assignments) for assignments in self._waiting.values())

    def pump(self, stage: str, horizon: int, wait_s: float = 0.0) -> None:
        """Send prompts, take in what is complete, replace EnvRunners that are gone.

        Args:
            stage: the policy that trains in the updates before `horizon`.
            horizon: the first update that trains another policy; nothing is sampled for it yet.
            wait_s: seconds to wait for results, where none is there.

        Raises:
            RunFailed: no EnvRunner is left, a prompt failed `max_attempts` times, too many carry no signal, or none of
                the first answers could be parsed.
        """
        self._readmit()
        self._scheduler.gate.horizon = horizon
        for assignment in self._scheduler.dispatch(time.monotonic()):
            self._waiting.setdefault(assignment.worker, []).append(assignment)
        for runner in [runner for runner in self._waiting if runner not in self._sent]:
            self._send(runner, stage)
        self._receive(wait_s)
        for assignment in {late.worker: late for late in self._scheduler.late(time.monotonic())}.values():
            self._end(assignment)

    def in_flight_before(self, job: int) -> bool:
        """Whether one of the first `job` jobs is still in flight."""
        return any(self._numbers[runner] < job for runner in self._sent)

    def close_runner(self, runner: int) -> None:
        """An EnvRunner gets no more prompts. Those that it has not begun go to others."""
        self._closed.add(runner)
        waiting = self._waiting.pop(runner, [])
        if runner in self._admitted:
            self._scheduler.close_worker(runner)
            for assignment in waiting:
                self._scheduler.failed(assignment.ticket, blameless=True)

    def holds_job(self, runner: int) -> bool:
        """Whether an EnvRunner has a job in flight."""
        return runner in self._sent

    def release_runner(self, runner: int) -> None:
        """An EnvRunner is taken away by the driver. Prompts that it holds go to others; no attempt of theirs failed."""
        self._part_with(runner)
        self._closed.discard(runner)

    def settled(self) -> list[Turn]:
        """Turns that the next update will train on whatever else comes, and that were not told before."""
        return [turn for group in self._scheduler.settled() for turn in group.result]

    def take(self, update: int) -> tuple[list[Turn], list[Turn]]:
        """The turns that update number `update` trains on, in the order of the prompts, and those of prompts without a
        signal that were sampled since the last one."""
        batch = self._scheduler.take_batch()
        dropped = self._signal.taken()
        self.requeued += len(batch.overtaken) + len(batch.expired)
        used = [turn for group in batch.groups for turn in _marked(group.result, update)]
        self.scales.see((turn.stage, turn.reward_parts) for turn in (*used, *dropped))
        return used, _marked(dropped, update)

    def trained(self) -> None:
        """The update is complete and its weights are in place."""
        self._scheduler.trained()

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the complete groups that no update has trained on into `folder`; the rest of the state, as JSON."""
        for group in self._scheduler.buffered():
            write_parquet(group.result, folder / f"{group.ticket}.parquet")
        return self._scheduler.state() | {"scales": self.scales.state()}

    def _send(self, runner: int, stage: str) -> None:
        assignments = self._waiting.pop(runner)
        prompts = tuple(Started(a.prompt.number, self._prompt_at(a.prompt.number), a.version) for a in assignments)
        job = Job(self._run, stage, prompts, self._seed, self.scales.of(stage))
        sent = self._runners.foreach_actor_async(SamplingCall(self._sample, job), tag=_TAG, remote_actor_ids=[runner])
        if sent != 1:
            raise RuntimeError(f"EnvRunner {runner} takes no call although it holds none and is healthy")
        self._sent[runner], self._numbers[runner] = assignments, self.jobs
        self.jobs += 1

    def _receive(self, wait_s: float) -> None:
        for result in self._runners.fetch_ready_async_reqs(tags=_TAG, timeout_seconds=wait_s):
            assignments = self._sent.pop(result.actor_id, [])
            answer = result.get()
            if isinstance(answer, SamplingError):
                place = self._place(result.actor_id)
                self._fail(assignments, f"EnvRunner {result.actor_id} ({place}): {answer.text}")
                self._blame(result.actor_id)
            elif result.ok:
                self._failing.discard(result.actor_id)
                self.incidents += Incidents.beside(answer)
                self._finish(assignments, from_table(answer))
            else:
                self._lose(result.actor_id, assignments, answer)

    def _finish(self, assignments: list[Assignment[int]], turns: list[Turn]) -> None:
        by_prompt: dict[int, list[Turn]] = {a.prompt.number: [] for a in assignments}
        for turn in turns:
            by_prompt[turn.prompt].append(turn)
        for assignment in assignments:
            mine = by_prompt[assignment.prompt.number]
            dropped = self._settings.drop_equal_groups and not any(teaches(turn, self._settings) for turn in mine)
            outcome = self._scheduler.finished(assignment.ticket, mine, dropped=dropped or not mine)
            if outcome is Outcome.DROPPED:
                self._signal.missed(mine)
        self._signal.refuse_in_vain(turns)

    def _fail(self, assignments: list[Assignment[int]], reason: str) -> None:
        self._last_error = reason
        logging.getLogger(__name__).warning("%d prompts are sampled anew: %s", len(assignments), reason)
        for assignment in assignments:
            self._scheduler.failed(assignment.ticket)
            self._count_attempt(assignment)

    def _lose(self, runner: int, assignments: list[Assignment[int]], error: Exception) -> None:
        cause = self._late.pop(runner, None) or (end_of(error) if isinstance(error, RayError) else str(error))
        self._last_error = f"EnvRunner {runner} ({self._place(runner)}) ended: {cause}"
        logging.getLogger(__name__).warning("%d prompts are sampled anew: %s", len(assignments), self._last_error)
        self.restarts += 1
        self._admitted.discard(runner)
        self._scheduler.remove_worker(runner)
        for assignment in (*assignments, *self._waiting.pop(runner, [])):
            self._count_attempt(assignment)

    def _count_attempt(self, assignment: Assignment[int]) -> None:
        self.requeued += 1
        attempts = assignment.prompt.attempts + 1
        if attempts >= self._settings.max_attempts:
            raise RunFailed(
                f"prompt {assignment.prompt.number} failed {attempts} times (rollout.max_attempts); the last time: "
                f"{self._last_error}"
            )

    def _end(self, assignment: Assignment[int]) -> None:
        """End the EnvRunner of a late group. Its call then fails, and `_lose` does the rest."""
        prompt, deadline_s = assignment.prompt.number, self._settings.deadline_s
        self._late[assignment.worker] = f"it held prompt {prompt} for more than rollout.deadline_s = {deadline_s} s"
        ray.kill(self._runners.actors()[assignment.worker], no_restart=False)

    def _blame(self, runner: int) -> None:
        """A job of this EnvRunner has failed. After the second one in a row it is ended; `_readmit` does the rest."""
        if runner not in self._failing:
            self._failing.add(runner)
            return
        self._last_error += "; it was ended, since its job before had failed, too"
        ray.kill(self._runners.actors()[runner], no_restart=False)
        self._runners.set_actor_state(runner, healthy=False)
        self._next_readmission = time.monotonic() + _READMIT_EVERY_S  # the old process may answer for a moment

    def _part_with(self, runner: int) -> None:
        held = (*self._sent.pop(runner, []), *self._waiting.pop(runner, []))
        self.requeued += len(held)
        if runner in self._admitted:
            self._scheduler.remove_worker(runner, blameless=True)
        self._admitted.discard(runner)
        self._late.pop(runner, None)

    def _place(self, runner: int) -> str:
        """Where the EnvRunner runs, or ran, as it said when it was taken into service."""
        answer = self._sites.get(runner)
        if answer is None or not ray.wait([answer], timeout=0)[0]:
            return "it has not said where it runs"
        try:
            return str(ray.get(answer, timeout=_PING_S))
        except RayError as error:
            return f"it ended before it could say where it runs: {type(error).__name__}"

    def _readmit(self) -> None:
        """Take EnvRunners that are new or were started again into service; give up where none is left for too long."""
        healthy = set(self._runners.healthy_actor_ids())
        for runner in sorted(self._admitted - healthy):  # another call than a job failed: RLlib has forgotten its job
            self.restarts += 1
            self._part_with(runner)
        now = time.monotonic()
        if len(healthy) < self._runners.num_actors() and now >= self._next_readmission:
            self._runners.probe_unhealthy_actors(timeout_seconds=_PING_S, mark_healthy=True)
            self._next_readmission = time.monotonic() + _READMIT_EVERY_S
            healthy = set(self._runners.healthy_actor_ids())
        for runner in sorted(healthy - self._admitted - self._closed):  # RLlib itself may have found it again, too
            self._admitted.add(runner)
            self._failing.discard(runner)
            self._sites[runner] = self._runners.actors()[runner].apply.remote(site_of)
            self._scheduler.add_worker(runner, slots=self._settings.prompts_per_update)
        if healthy:
            self._without_runner_since = None
            return
        self._without_runner_since = self._without_runner_since or now
        if now - self._without_runner_since > self._settings.deadline_s:
            raise RunFailed(
                f"no EnvRunner has been there for rollout.deadline_s = {self._settings.deadline_s} s; "
                f"{self._last_error}"
            )


def _marked(turns: list[Turn], update: int) -> list[Turn]:
    return [replace(turn, update=update) for turn in turns]
