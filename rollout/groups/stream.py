"""The stream of groups: prompts go out to EnvRunners, what they sampled comes back, whatever ends on the way."""

from __future__ import annotations

import logging
import math
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
from rollout.groups.first_images import FirstImages
from rollout.groups.job import Drawn, Job
from rollout.groups.no_signal import SignalWatch, teaches
from rollout.groups.presence import Presence
from rollout.groups.sampling_call import Sample, SamplingCall, SamplingError
from rollout.incidents import Incidents
from rollout.scheduling.assignment import Assignment, Outcome
from rollout.scheduling.scheduler import Scheduler
from rollout.trajectory import Turn, from_table, write_parquet

if TYPE_CHECKING:
    from presets.settings import RolloutConfig
    from scenes.scene_graph import SceneGraph

_TAG = "sample"


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
        first_images: those that were drawn before their prompts are sampled.
        draws_ahead: whether EnvRunners that have nothing to do may draw.
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
        self._sample, self._run, self._seed, self._settings = sample, run, seed, settings
        self._waiting: dict[int, list[Assignment[int]]] = {}  # assigned to a runner that is busy
        self._sent: dict[int, list[Assignment[int]]] = {}
        self._numbers: dict[int, int] = {}  # of the job that a runner holds
        self._closed: set[int] = set()
        self._late: dict[int, str] = {}  # why a runner is being ended
        self._failing: set[int] = set()  # the last job of these has failed
        self._signal = SignalWatch(settings)
        self._last_error = "none of them answered"
        self._admitted: set[int] = set()
        self._presence = Presence(runners, settings.deadline_s)
        self.jobs = self.restarts = self.requeued = 0
        self.incidents, self.scales = Incidents(), Scales()
        self.first_images, self.draws_ahead = FirstImages(settings.prompts_per_update, prompt_at), True

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
        self._assign()
        asked = self._admitted if self._settings.draw_ahead else self._waiting
        for runner in [runner for runner in asked if runner not in self._sent]:
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
        self.requeued += len(batch.overtaken) + len(batch.expired)
        used = [replace(turn, update=update) for group in batch.groups for turn in group.result]
        dropped = [replace(turn, update=update) for turn in self._signal.taken()]
        self.first_images.used(len({turn.prompt for turn in (*used, *dropped)}))
        self.scales.see((turn.stage, turn.reward_parts) for turn in (*used, *dropped))
        return used, dropped

    def trained(self) -> None:
        """The update is complete and its weights are in place."""
        self._scheduler.trained()

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the complete groups that no update has trained on into `folder`; the rest of the state, as JSON."""
        for group in self._scheduler.buffered():
            write_parquet(group.result, folder / f"{group.ticket}.parquet")
        return self._scheduler.state() | {"scales": self.scales.state()}

    def _assign(self) -> None:
        """Give prompts to EnvRunners. One whose first image holds is done, and another one takes its place."""
        while True:
            for assignment in self._scheduler.dispatch(time.monotonic()):
                self._waiting.setdefault(assignment.worker, []).append(assignment)
            held = [a for every in self._waiting.values() for a in every if self.first_images.holds(a.prompt.number)]
            if not held:
                break
            for assignment in held:
                self._waiting[assignment.worker].remove(assignment)
                self._finish([assignment], [])
        self._waiting = {runner: assignments for runner, assignments in self._waiting.items() if assignments}

    def _send(self, runner: int, stage: str) -> None:
        """Give an EnvRunner without a job one, or what is to be drawn before it."""
        waiting = self._waiting.get(runner, [])
        if self._settings.draw_ahead:
            ahead = self.draws_ahead and runner not in self._closed
            numbers = [assignment.prompt.number for assignment in waiting]
            if asked := self.first_images.ask(runner, numbers, self._scheduler.next_prompt, ahead):
                prompts = self.first_images.started((number, -1) for number in asked)
                self._call(runner, [], Job(self._run, stage, prompts, self._seed, ahead=True))
                return
        if waiting:
            del self._waiting[runner]
            prompts = self.first_images.started((a.prompt.number, a.version) for a in waiting)
            self._call(runner, waiting, Job(self._run, stage, prompts, self._seed, self.scales.of(stage)))

    def _call(self, runner: int, assignments: list[Assignment[int]], job: Job) -> None:
        sent = self._runners.foreach_actor_async(SamplingCall(self._sample, job), tag=_TAG, remote_actor_ids=[runner])
        if sent != 1:
            raise RuntimeError(f"EnvRunner {runner} takes no call although it holds none and is healthy")
        self._sent[runner], self._numbers[runner] = assignments, self.jobs
        self.jobs += 1

    def _receive(self, wait_s: float) -> None:
        for result in self._runners.fetch_ready_async_reqs(tags=_TAG, timeout_seconds=wait_s):
            assignments = self._sent.pop(result.actor_id, [])
            answer = result.get()
            if isinstance(answer, Drawn):
                since = min((a.started for a in self._waiting.get(result.actor_id, [])), default=math.inf)
                self.first_images.put(result.actor_id, answer, max(0.0, time.monotonic() - since))
                self.incidents += answer.incidents
                continue
            if self.first_images.gave_up(result.actor_id):
                self.first_images.failed()
                assignments += self._waiting.pop(result.actor_id, [])
            if isinstance(answer, SamplingError):
                place = self._presence.place(result.actor_id)
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
            self.first_images.forget(assignment.prompt.number)
            outcome = self._scheduler.finished(assignment.ticket, mine, dropped=dropped or not mine)
            if outcome is Outcome.DROPPED:
                self._signal.missed(mine)
        self._signal.refuse_in_vain(turns)

    def _fail(self, assignments: list[Assignment[int]], reason: str) -> None:
        for assignment in assignments:
            self._scheduler.failed(assignment.ticket)
        self._count_attempts(assignments, reason)

    def _lose(self, runner: int, assignments: list[Assignment[int]], error: Exception) -> None:
        cause = self._late.pop(runner, None) or (end_of(error) if isinstance(error, RayError) else str(error))
        reason = f"EnvRunner {runner} ({self._presence.place(runner)}) ended: {cause}"
        self.restarts += 1
        self._admitted.discard(runner)
        self._scheduler.remove_worker(runner)
        self._count_attempts([*assignments, *self._waiting.pop(runner, [])], reason)

    def _count_attempts(self, assignments: list[Assignment[int]], reason: str) -> None:
        self._last_error = reason
        logging.getLogger(__name__).warning("%d prompts are sampled anew: %s", len(assignments), reason)
        self.requeued += len(assignments)
        for prompt in (assignment.prompt for assignment in assignments):
            if prompt.attempts + 1 >= self._settings.max_attempts:
                raise RunFailed(
                    f"prompt {prompt.number} failed {prompt.attempts + 1} times (rollout.max_attempts); the last time: "
                    f"{reason}"
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
        self._presence.end(runner)

    def _part_with(self, runner: int) -> None:
        held = (*self._sent.pop(runner, []), *self._waiting.pop(runner, []))
        self.requeued += len(held)
        if runner in self._admitted:
            self._scheduler.remove_worker(runner, blameless=True)
        self._admitted.discard(runner)
        self._late.pop(runner, None)
        self.first_images.gave_up(runner)

    def _readmit(self) -> None:
        """Take EnvRunners that are new or were started again into service; give up where none is left for too long."""
        for runner in sorted(self._admitted - self._presence.now()):
            self.restarts += 1  # another call than a job failed: RLlib has forgotten its job
            self._part_with(runner)
        for runner in sorted(self._presence.probed() - self._admitted - self._closed):  # RLlib may have found it, too
            self._admitted.add(runner)
            self._failing.discard(runner)
            self._presence.arrived(runner)
            self._scheduler.add_worker(runner, slots=self._settings.prompts_per_update)
        self._presence.refuse_absence(self._last_error)
