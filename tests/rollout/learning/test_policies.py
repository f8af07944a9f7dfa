"""Learners take turns, and what the board had from one is its own before that one ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from presets.run_file import load_config
from rollout.learning import policies

ALTERNATE = "stages=[{stage: alternate, updates: 4}]"


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happened, in this order, with learners that only write it down."""
    done: list[str] = []

    class ScriptedLearner:
        version = 1

        def __init__(self, policy: str, *more: object) -> None:
            self.policy, self.lent = policy, more[-1]
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


@pytest.fixture
def new_policies(run_file: Path, tmp_path: Path, done: list[str]) -> Callable[..., policies.Policies]:
    """Policies of a run with these overrides, on devices that only write down whose turn it is."""

    class ScriptedDevices:
        @contextmanager
        def learning(self, learner: object = None) -> Iterator[None]:
            name = getattr(learner, "policy", "new")
            done.append(f"({name}")
            yield
            done.append(f"{name})")

        def prove(self, learner: object) -> None:
            done.append("prove")

        def rest(self, learner: object) -> None:
            done.append("rest")

    def new(*overrides: str) -> policies.Policies:
        config, settle = load_config(run_file, list(overrides)), lambda: done.append("settle")
        return policies.Policies(config, tmp_path / "policies", settle, ScriptedDevices(), ["worker-0", "worker-1"])

    return new


def test_the_board_has_its_own_copy_before_a_learner_ends(new_policies, tmp_path: Path, done: list[str]) -> None:
    turns = new_policies("stages=[{stage: actor, updates: 1}, {stage: editor, updates: 1}]")
    assert turns.learner("actor") is turns.learner("actor")
    assert done == ["(new", "start actor", "prove", "rest", "new)"]
    done.clear()
    turns.versions["actor"] = 1
    turns.learner("editor")
    ended = ["(actor", "save actor", "export actor", "actor)", "settle", "end actor"]
    assert done == [*ended, "(new", "start editor", "prove", "rest", "new)"]
    turns.save(tmp_path / "saved")
    done.clear()
    turns.load(tmp_path / "saved", {"actor": 1, "editor": 0})
    assert done == ["settle", "end editor"]
    turns.learner("actor")
    assert done[2:] == ["(new", "start actor", "load actor", "prove", "rest", "new)"]


def test_a_switch_writes_the_state_alone_where_the_policy_has_another_turn(
    new_policies, tmp_path: Path, done: list[str]
) -> None:
    turns = new_policies(ALTERNATE)
    turns.learner("actor")
    turns.versions["actor"] = 1
    turns.learner("editor")
    assert "save actor" in done
    assert "export actor" not in done
    turns.versions["editor"] = 1
    done.clear()
    turns.export(tmp_path / "exported")  # the run ends here, before the other turns
    order = [line for line in done if line.split()[0] in ("start", "load", "save", "export", "end")]
    assert order == ["export editor", "save editor", "end editor", "start actor", "load actor", "export actor"]


def test_learners_that_are_kept_take_turns_without_a_start(new_policies, tmp_path: Path, done: list[str]) -> None:
    turns = new_policies(ALTERNATE, "learner.keep=true")
    actor = turns.learner("actor")
    turns.versions["actor"] = 1
    editor = turns.learner("editor")
    turns.versions["editor"] = 1
    done.clear()
    assert (turns.learner("actor"), turns.learner("editor")) == (actor, editor)
    assert done == []
    assert turns.alive("actor")
    turns.export(tmp_path / "exported")
    assert done == ["(actor", "export actor", "actor)", "(editor", "export editor", "editor)"]


def test_a_kept_learner_ends_with_its_last_turn(new_policies, done: list[str]) -> None:
    turns = new_policies("stages=[{stage: actor, updates: 1}, {stage: editor, updates: 1}]", "learner.keep=true")
    turns.learner("actor")
    turns.versions["actor"] = 1
    turns.learner("editor")
    assert not turns.alive("actor")


@pytest.mark.parametrize(("colocated", "ranks"), [("false", []), ("true", ["worker-0", "worker-1"])])
def test_the_editors_workers_are_the_ranks_of_its_learner_alone_and_only_where_asked(
    new_policies, colocated, ranks
) -> None:
    lora = "learner.editor.lora={rank: 4, alpha: 8.0, target_modules: [to_q]}"
    turns = new_policies(ALTERNATE, lora, f"editor.colocated={colocated}")
    assert list(turns.learner("editor").lent) == ranks
    assert list(turns.learner("actor").lent) == []


def test_a_run_that_failed_ends_its_learners_at_once(new_policies, done: list[str]) -> None:
    turns = new_policies(ALTERNATE, "learner.keep=true")
    turns.learner("actor")
    turns.learner("editor")
    done.clear()
    turns.abandon()
    assert sorted(done) == ["end actor", "end editor"]
