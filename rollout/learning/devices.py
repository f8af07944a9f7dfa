"""Whose turn it is on GPUs that roles share: those that sample, or the learner."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from presets.errors import RunFailed
from presets.placement import apart
from presets.sharing.colocated import is_colocated
from presets.sharing.gpus import SAMPLING

if TYPE_CHECKING:
    from learner.ranks import Learner
    from presets.run_config import RunConfig
    from rollout.models import Models
    from rollout.progress import Progress

PHASE = "switch"


class Devices:
    """Roles with `offload: cpu` are on their GPUs only while it is their turn. Without such roles nothing happens.

    Args:
        config: the run.
        models: the roles that sample; all are awake.
        progress: counts the seconds of a switch as a phase of their own.
        settle: returns when nobody samples any more.
    """

    def __init__(
        self, config: RunConfig, models: Models, progress: Progress, settle: Callable[[], None] = lambda: None
    ) -> None:
        self._config, self._models, self._progress, self._settle = config, models, progress, settle
        there = {"diffuser", "editor", *config.vlms}  # without the Checker where the Actor's replicas are it, too
        leaving = [role for role, key in SAMPLING.items() if config.value_of(f"{key}.offload") == "cpu"]
        self._sampling = [role for role in leaving if role in there]
        self._at_work = 0  # `learning` inside `learning`
        self._seconds = 0.0

    @property
    def in_turns(self) -> bool:
        """Whether roles that sample, or a learner, leave their GPUs for others, or one process is both."""
        return is_colocated(self._config) or bool(self._sampling) or any(map(self._leaves, self._config.trained))

    @contextmanager
    def learning(self, learner: Learner | None = None) -> Iterator[None]:
        """Meanwhile the GPUs are the learner's, where one is given; then those who sample have them again. Within
        itself it changes nothing."""
        if self._at_work or not self.in_turns:
            yield
            return
        with self._switch():
            self._settle()
            self._models.sleep(self._sampling)
            if learner is not None and self._leaves(learner.policy):
                learner.wake()
        self._at_work += 1
        try:
            yield
        finally:
            self._at_work -= 1
            with self._switch():
                if learner is not None:
                    self.rest(learner)
                self._models.wake(self._sampling)

    @contextmanager
    def _switch(self) -> Iterator[None]:
        began = time.monotonic()
        with self._progress.phase(PHASE):
            yield
        self._seconds += time.monotonic() - began

    def seconds(self) -> dict[str, float]:
        """What switches have taken since this was asked last, as a phase; empty where nobody switches."""
        seconds, self._seconds = self._seconds, 0.0
        return {PHASE: seconds} if self.in_turns else {}

    def rest(self, learner: Learner) -> None:
        """Let a learner leave its GPUs, if it is one that does."""
        if self._leaves(learner.policy):
            learner.sleep()

    def prove(self, learner: Learner | None = None) -> None:
        """See that all who are there, and this learner, are on the GPUs of `placement.share`.

        Raises:
            RunFailed: one is on others; the message names both.
        """
        if self._config.placement.share:
            learners = {} if learner is None else {f"learner.{learner.policy}": learner.gpus()}
            refuse_apart({**self._models.gpus(), **learners}, self._config)

    def _leaves(self, policy: str) -> bool:
        return bool(self._config.value_of(f"learner.{policy}.offload") == "cpu")


def refuse_apart(gpus: dict[str, Sequence[str]], config: RunConfig) -> None:
    """Refuse to go on where roles are on other GPUs than `placement.share` says.

    Raises:
        RunFailed: the message names roles and GPUs.
    """
    if problems := apart(gpus, config.placement.share):
        raise RunFailed(
            f"placement.share: {'; '.join(problems)}. Leave the GPUs of this cluster to the run alone; on several "
            "nodes, say with placement.nodes=strict and labels which ones are for these roles"
        )
