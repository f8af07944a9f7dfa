"""Held-out evaluation with the average of what a run has trained, where `learner.*.ema` keeps one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from learner.average import averaged_update, read_average
from presets.errors import RunFailed
from weights.board import latest_weights

if TYPE_CHECKING:
    from rollout.algorithm import ReflectionGRPO
    from weights.manifest import WeightUpdate

_POLL_S = 0.2


@contextmanager
def averaged_weights(algorithm: ReflectionGRPO) -> Iterator[None]:
    """Meanwhile the replicas of each policy with `learner.POLICY.ema` that has been trained hold the average of its
    weights, under the version that they have; afterwards its weights again. Each change is proven as every update is.
    Nobody samples what is trained on meanwhile. Without such a policy nothing happens.

    Raises:
        RunFailed: EnvRunners do not give back what they sample.
        WeightMismatch, TimeoutError, FleetError, VlmError: see `Models.apply_weights`.
    """
    run, models = algorithm.run, algorithm.models
    policies = [policy for policy in algorithm.policies.trained() if getattr(run.learner, policy).ema]
    if not policies:
        yield
        return
    _wait_for_runners(algorithm)
    held = [latest_weights(models.board.name, policy, run.rollout.deadline_s) for policy in policies]
    there = [update for update in held if update is not None]
    try:
        for update in there:
            models.apply_weights(_averaged(algorithm, update))
        yield
    finally:
        for update in there:
            models.apply_weights(update)


def _averaged(algorithm: ReflectionGRPO, update: WeightUpdate) -> WeightUpdate:
    """Of the learner, or where it is closed of the state that it left."""
    policy = update.manifest.policy
    if algorithm.policies.alive(policy):
        learner = algorithm.policies.learner(policy)
        with algorithm.devices.learning(learner):
            return learner.weights(averaged=True)
    average = read_average(algorithm.policies.state(policy))
    return update if average is None else averaged_update(update, average)


def _wait_for_runners(algorithm: ReflectionGRPO) -> None:
    """Take in what is being sampled, and begin nothing new."""
    stream, limits = algorithm.stream, algorithm.run.rollout
    ends = time.monotonic() + limits.deadline_s + limits.restart_s
    while held := stream.in_flight:
        if time.monotonic() > ends:
            raise RunFailed(f"{held} prompts are still sampled, so that their weights cannot be replaced by averages")
        stream.pump(algorithm.stage, algorithm.updates, _POLL_S)
