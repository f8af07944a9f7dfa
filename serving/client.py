"""Talking to a deployed VLM. Light: it loads neither vLLM nor torch."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ray.exceptions import RayActorError, RayError
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.schema import ReplicaState

from actors.site import Site, end_of, last_line
from serving.config import VlmConfig
from serving.generation import Answer, Batch, Question, ReplicaBroken, Sampling, VlmError
from serving.serve_controller import serve_applications, wait_for_controller
from weights.transports.exchange import Address, Step

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

    from weights.manifest import WeightUpdate
    from weights.receipts import WeightReceipt

_POLL_S = 0.25
_LOST = (RayActorError, ReplicaBroken, DeploymentUnavailableError)  # the last: the only replica is being replaced
_HANDLES: dict[str, DeploymentHandle] = {}  # of this process, by the client that they came with


_AWAY = (*_LOST, TimeoutError, VlmError)  # what a call to all replicas raises while one of them is lost


class VlmClient:
    """The sync face of one deployed VLM, for drivers and Ray actors. It can be pickled.

    `compute_seconds` is how long replicas worked on the questions of this client so far, without transfer and waiting;
    of those that share a batch the slowest counts. `replaced` counts the replicas that it lost on the way.
    """

    def __init__(
        self, handle: DeploymentHandle, role: str, settings: VlmConfig, application: str | None = None
    ) -> None:
        self.role, self.settings = role, settings
        self._application = application or role
        self.compute_seconds = 0.0
        self.replaced = 0
        self._handle = handle
        self._sites: dict[str, Site] = {}
        self._key = uuid.uuid4().hex

    def shared(self, role: str, settings: VlmConfig) -> VlmClient:
        """Another client of the same replicas, in another role with prompts and deadlines of its own."""
        running = ("replicas", "max_replicas", "start_deadline_s")
        like = settings.model_copy(update={name: getattr(self.settings, name) for name in running})
        return VlmClient(self._handle, role, like, self._application)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Copies of a client share one handle in each process: a handle has a router of its own, which Serve's
        controller updates for as long as the process lives, and every job of a rollout brings a copy."""
        self.__dict__.update(state)
        self._handle = _HANDLES.setdefault(self._key, self._handle)

    def generate(
        self, images: Sequence[np.ndarray], questions: Sequence[Question], sampling: Sampling
    ) -> list[list[Answer]]:
        """Answers as `result[question][sample]`; the questions are split over the replicas that there may be. Those of
        a replica that is lost on the way go to the one that takes its place.

        Raises:
            TimeoutError: a replica did not answer within `call_deadline_s`.
            VlmError: none took the place of a lost one within `start_deadline_s`.
        """
        if not questions:
            return []
        deadline_s = self.settings.call_deadline_s
        size = -(-len(questions) // self.settings.most_replicas)
        parts = [questions[start : start + size] for start in range(0, len(questions), size)]
        calls = []
        for part in parts:
            used = sorted({question.image for question in part})
            local = [Question(question.text, used.index(question.image), question.seed) for question in part]
            batch = Batch([images[index] for index in used], local, sampling, deadline_s)
            calls.append((self._handle.generate_batch.remote(batch), batch))
        ends = time.monotonic() + deadline_s + 5.0  # the replica's own deadline comes first and says more
        answers: list[list[Answer]] = []
        slowest = 0.0
        for call, batch in calls:
            try:
                found, seconds = call.result(timeout_s=max(0.0, ends - time.monotonic()))
            except TimeoutError as error:
                call.cancel()
                if self._complete():
                    raise TimeoutError(
                        f"the {self.role} did not answer {len(batch.questions)} questions within call_deadline_s = "
                        f"{deadline_s:g} s; raise it if the replica is only slow: {last_line(error)}"
                    ) from error
                found, seconds = self._ask_successor(batch, error)
            except _LOST as error:
                found, seconds = self._ask_successor(batch, error)
            answers += found
            slowest = max(slowest, seconds)
        self.compute_seconds += slowest
        return answers

    def _complete(self) -> bool:
        """Whether as many replicas run as should; not while Serve starts one."""
        states = self._states()
        starting = states.get(ReplicaState.STARTING, 0) if self.settings.elastic else 0
        return not starting and states.get(ReplicaState.RUNNING, 0) >= self.settings.replicas

    def running(self) -> int | None:
        """Replicas that there are: those that answer, where Serve decides; None where they do not just now."""
        if not self.settings.elastic:
            return self.settings.replicas
        try:
            return len(self.versions())
        except _AWAY:
            return None

    def _states(self) -> dict[str, int]:
        application = serve_applications().get(self._application)
        found: dict[str, int] = {}
        for deployment in application.deployments.values() if application else ():
            for state, count in deployment.replica_states.items():
                found[state] = found.get(state, 0) + count
        return found

    def _ask_successor(self, batch: Batch, lost: Exception) -> tuple[list[list[Answer]], float]:
        self.replaced += 1
        wait_for_controller()  # without it nothing is replaced
        ends = time.monotonic() + self.settings.start_deadline_s
        while (left := ends - time.monotonic()) > 0:
            time.sleep(_POLL_S)
            call = self._handle.generate_batch.remote(batch)
            try:
                answer: tuple[list[list[Answer]], float] = call.result(timeout_s=left)
                self._sites.clear()  # of the one that was lost; `versions` asks anew
                return answer
            except _LOST:
                continue  # it has not been replaced yet
            except TimeoutError:
                call.cancel()
                break
        raise VlmError(
            f"a replica of the {self.role} was lost and none took its place within start_deadline_s = "
            f"{self.settings.start_deadline_s:g} s: {_cause(lost)}; {self._places}"
        ) from lost

    def apply_weights(self, update: WeightUpdate) -> list[WeightReceipt]:
        """Give new weights to every replica; one receipt from each.

        A replica that is lost meanwhile is replaced by Serve, and its successor starts with these weights if they lie
        on its board.

        Raises:
            WeightMismatch: a replica refuses them.
            VlmError: the replicas that were lost are not replaced within `start_deadline_s`.
        """
        try:
            return self._broadcast("apply_weights", update, deadline_s=4 * self.settings.call_deadline_s)
        except _AWAY as error:
            return self._successors(update, error)

    def held_now(self, update: WeightUpdate, receipts: list[WeightReceipt]) -> tuple[list[WeightReceipt], list[str]]:
        """The receipts for an update of the replicas that there are now, and who must have given one: these receipts
        and all replicas or, where one was lost after its own, those of the replicas with its successor among them.

        Where Serve decides how many there are, one that came meanwhile takes the newest weights before it answers.

        Raises:
            VlmError: the replicas that were lost are not replaced within `start_deadline_s`.
        """
        answered = [receipt.replica for receipt in receipts]
        lost: Exception
        try:
            there = list(self.versions())
            if self.settings.elastic:
                return receipts, answered
            if not (gone := sorted(set(answered) - set(there))):
                return receipts, there
            lost = VlmError(f"not there any more after its receipt: {', '.join(gone)}")
        except _AWAY as error:
            lost = error
        receipts = self._successors(update, lost)
        return receipts, [receipt.replica for receipt in receipts]

    def _successors(self, update: WeightUpdate, lost: Exception) -> list[WeightReceipt]:
        # Where Serve decides how many there are, one that was starting meanwhile holds others until it is asked.
        elastic = self.settings.elastic
        question: tuple[Any, ...] = ("apply_weights", update) if elastic else ("receipt",)
        wait_for_controller()  # without it nothing is replaced
        ends = time.monotonic() + self.settings.start_deadline_s
        while time.monotonic() < ends:
            time.sleep(_POLL_S)
            try:
                receipts = self._broadcast(*question, deadline_s=self.settings.call_deadline_s)
            except _AWAY:
                continue  # it is still being replaced
            held = [receipt.version for receipt in receipts if receipt is not None]
            count = max(len(held), self.settings.replicas) if elastic else self.settings.replicas
            if held == [update.manifest.version] * count:
                return receipts
        raise VlmError(
            f"version {update.manifest.version}: a replica of the {self.role} was lost and none with these weights "
            f"took its place within start_deadline_s = {self.settings.start_deadline_s:g} s: {_cause(lost)}; "
            f"{self._places}"
        ) from lost

    def addresses(self) -> list[Address]:
        """Where a sender of weights finds the replicas, by name."""
        addresses = self._broadcast("address", deadline_s=self.settings.call_deadline_s)
        return sorted(addresses, key=lambda address: address.replica)

    def transfer(self, step: Step, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """One step of an update that a sender pushes, on the replicas that `arguments` names: answers by name.

        The first error is raised at once, also while other replicas still wait for the sender.

        Raises:
            VlmError: a replica is not there any more.
            TimeoutError: a replica did not answer within 4 × `call_deadline_s`.
            Exception: whatever the step raised.
        """
        deadline_s = 4 * self.settings.call_deadline_s  # a replica's own deadlines come first and say more
        try:
            answers = self._answers("transfer", step, dict(arguments), deadline_s=deadline_s)
        except TimeoutError as error:
            if isinstance(error, RayError):
                raise  # a replica's own deadline
            late = f"{step}: not all of {sorted(arguments)} of the {self.role} answered in {deadline_s} s"
            raise TimeoutError(late) from error
        except DeploymentUnavailableError as error:
            raise VlmError(f"{step}: the {self.role} has no running replica") from error
        found = dict(answer for answer in answers if answer is not None)
        if lost := sorted(arguments.keys() - found.keys()):
            raise VlmError(f"{step}: replicas of the {self.role} are not there any more: {', '.join(lost)}")
        return found

    def versions(self) -> dict[str, int]:
        """The version of the weights that each replica serves, by the replica's name."""
        found = self._broadcast("identity", deadline_s=self.settings.call_deadline_s)
        self._sites = {name: site for name, _, site in found}
        return {name: version for name, version, _ in found}

    def sleep(self) -> None:
        """Let every replica leave its GPU; before the next question comes `wake`."""
        self._broadcast("sleep", deadline_s=self.settings.call_deadline_s)

    def wake(self) -> None:
        """Let every replica be back on its GPU, with the same weights."""
        self._broadcast("wakeup", deadline_s=self.settings.call_deadline_s)

    def peak_gpu_bytes(self) -> int | None:
        """The most memory of one GPU that a replica held since the last call; 0 on CPUs, None where the replicas do not
        answer just now."""
        try:
            peaks: list[int] = self._broadcast("peak_gpu_bytes", deadline_s=self.settings.call_deadline_s)
        except _AWAY:
            return None
        return max(peaks)

    @property
    def _places(self) -> str:
        known = "; ".join(f"{name} was {site}" for name, site in self._sites.items())
        return known or "it never said where it runs: look into Ray's session folder, logs/serve"

    def check_health(self) -> None:
        """Raise the reason if a replica cannot answer."""
        self._broadcast("check_health", deadline_s=self.settings.call_deadline_s)

    def _broadcast(self, method: str, *arguments: Any, deadline_s: float) -> list[Any]:
        try:
            return self._answers(method, *arguments, deadline_s=deadline_s)
        except TimeoutError as error:
            raise TimeoutError(f"{method}: not every replica of the {self.role} answered in {deadline_s} s") from error
        except DeploymentUnavailableError as error:
            raise VlmError(f"{method}: the {self.role} has no running replica") from error

    def _answers(self, method: str, *arguments: Any, deadline_s: float) -> list[Any]:
        # Serve's `results` waits for one replica after the other, each in a new thread; where there is no memory for
        # one, Python waits for its beginning without a deadline.
        return asyncio.run(self._handle.broadcast(method, *arguments).results_async(timeout_s=deadline_s))


def _cause(error: Exception) -> str:
    if isinstance(error, DeploymentUnavailableError):
        message: str = error.message  # as a string it is the name of the deployment
        return message
    return end_of(error) if isinstance(error, RayError) else last_line(error)
