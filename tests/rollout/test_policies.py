"""Learners take turns, and what the board had from one is its own before that one ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from presets.run_file import load_config
from rollout import policies


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happened, in this order, with learners that only write it down."""
    done: list[str] = []

    class ScriptedLearner:
        version = 1

        def __init__(self, policy: str, *_: object) -> None:
            self.policy = policy
            done.append(f"start {policy}")

        def save(self, folder: Path) -> None:
            folder.mkdir(parents=True)
            done.append(f"save {self.policy}")

        def load(self, _: Path) -> None:
            done.append(f"load {self.policy}")

        def export(self, folder: Path) -> None:
            folder.mkdir(parents=True)
            done.append(f"export {self.policy}")

        def close(self) -> None:
            done.append(f"end {self.policy}")

    monkeypatch.setattr(policies, "Learner", ScriptedLearner)
    return done


def test_the_board_has_its_own_copy_before_a_learner_ends(run_file: Path, tmp_path: Path, done: list[str]) -> None:
    turns = policies.Policies(load_config(run_file), tmp_path / "policies", lambda: done.append("settle"))
    assert turns.learner("actor") is turns.learner("actor")
    done.clear()
    turns.learner("editor")
    assert done == ["save actor", "export actor", "settle", "end actor", "start editor"]
    turns.versions["actor"] = 1
    turns.save(tmp_path / "saved")
    done.clear()
    turns.load(tmp_path / "saved", {"actor": 1, "editor": 0})
    assert done == ["settle", "end editor"]
    turns.learner("actor")
    assert done[2:] == ["settle", "start actor", "load actor"]


def test_a_run_that_failed_ends_its_learner_at_once(run_file: Path, tmp_path: Path, done: list[str]) -> None:
    turns = policies.Policies(load_config(run_file), tmp_path / "policies", lambda: done.append("settle"))
    turns.learner("actor")
    done.clear()
    turns.abandon()
    assert done == ["end actor"]
