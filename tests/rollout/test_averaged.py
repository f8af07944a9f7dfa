"""Evaluations with averages: who is given which weights when, without an engine."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import rollout.averaged
from learner.average import WeightAverage
from presets.errors import RunFailed
from rollout.averaged import averaged_weights
from weights.manifest import WeightUpdate, pack, unpack


class Run:
    """What `averaged_weights` sees of an algorithm: an Actor with a learner, and an editor whose learner is closed."""

    def __init__(self, folder: Path, in_flight: int = 0, **ema: float) -> None:
        self.stage, self.updates, self.in_flight = "actor", 5, in_flight
        self.pumped: list[int] = []
        self.given: list[tuple[str, int, float]] = []
        self.board = {policy: update(policy, 1.0) for policy in ("actor", "editor")}
        learners = {policy: SimpleNamespace(ema=ema.get(policy, 0.0)) for policy in ("actor", "editor")}
        limits = SimpleNamespace(deadline_s=0.2, restart_s=0.1)
        self.run = SimpleNamespace(learner=SimpleNamespace(**learners), rollout=limits)
        self.models = SimpleNamespace(apply_weights=self.apply, board=SimpleNamespace(name=self.board))
        self.policies = SimpleNamespace(
            trained=lambda: ["actor", "editor"],
            alive=lambda policy: policy == "actor",
            learner=lambda policy: SimpleNamespace(weights=lambda averaged: update(policy, 0.5)),
            state=lambda policy: folder / policy,
        )
        self.devices = SimpleNamespace(learning=lambda learner: nullcontext())
        self.stream = self

    def apply(self, update: WeightUpdate) -> None:
        assert not self.in_flight
        self.given.append((update.manifest.policy, update.manifest.version, dict(unpack(update))["w"].item()))

    def pump(self, stage: str, horizon: int, wait_s: float) -> None:
        self.pumped.append(horizon)
        self.in_flight -= 1


def update(policy: str, value: float) -> WeightUpdate:
    return pack(policy, 3, {"w": torch.tensor([value])})


@pytest.fixture(autouse=True)
def board(monkeypatch) -> None:
    monkeypatch.setattr(rollout.averaged, "latest_weights", lambda board, policy, deadline_s: board[policy])


def test_replicas_have_the_average_meanwhile_and_their_weights_again_whatever_happens(tmp_path):
    average = WeightAverage(0.9)
    average.start([("w", torch.tensor([0.25]))])
    average.save(tmp_path / "editor")
    run = Run(tmp_path, in_flight=2, actor=0.9, editor=0.9)
    averages = [("actor", 3, 0.5), ("editor", 3, 0.25)]
    evaluation = averaged_weights(run)
    evaluation.__enter__()
    assert run.given == averages
    assert not evaluation.__exit__(KeyError, KeyError(), None)
    assert run.given == [*averages, ("actor", 3, 1.0), ("editor", 3, 1.0)]
    assert run.pumped == [5, 5]  # nothing is begun for the next update


def test_a_policy_without_an_average_keeps_its_weights(tmp_path):
    with averaged_weights(run := Run(tmp_path)):
        pass
    assert run.given == []
    with averaged_weights(run := Run(tmp_path, actor=0.5)):
        assert run.given == [("actor", 3, 0.5)]
    assert {policy for policy, _, _ in run.given} == {"actor"}


def test_runners_that_give_nothing_back_end_the_wait(tmp_path):
    run = Run(tmp_path, in_flight=10**9, actor=0.9)
    held = "prompts are still sampled, so that their weights cannot be replaced"
    with pytest.raises(RunFailed, match=held), averaged_weights(run):
        pass
    assert run.given == []
