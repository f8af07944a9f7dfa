"""Roles that share GPUs have them by turns."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from presets.errors import BadInput, RunFailed
from presets.run_file import load_config
from rollout.learning.devices import Devices, refuse_apart
from rollout.progress import Progress


class Told:
    """A learner and models that write down what they are told; `gpus` is where they are."""

    def __init__(self, gpus: dict[str, list[str]] | None = None) -> None:
        self.done: list[str] = []
        where = gpus or {}
        self.learner: Any = SimpleNamespace(
            policy="actor",
            sleep=lambda: self.done.append("learner sleeps"),
            wake=lambda: self.done.append("learner wakes"),
            gpus=lambda: where.get("learner.actor", []),
        )
        self.models: Any = SimpleNamespace(
            sleep=lambda roles: self.done.append(f"{'+'.join(roles)} sleep"),
            wake=lambda roles: self.done.append(f"{'+'.join(roles)} wake"),
            gpus=lambda: {role: found for role, found in where.items() if not role.startswith("learner.")},
        )


def test_who_samples_with_what_it_trains_has_to_settle_first(run_file: Path) -> None:
    told, settled = Told(), []
    lora = "learner.editor.lora={rank: 4, alpha: 8.0, target_modules: [to_q]}"
    config = load_config(run_file, ["editor.colocated=true", lora])
    devices = Devices(config, told.models, Progress(), lambda: settled.append("settled"))
    assert devices.in_turns
    with devices.learning(told.learner):
        assert settled == ["settled"]
    assert told.done == [" sleep", " wake"]  # of no role
    assert not Devices(load_config(run_file, [lora]), told.models, Progress()).in_turns


def test_without_offload_nothing_happens(run_file: Path) -> None:
    told, progress = Told(), Progress()
    devices = Devices(load_config(run_file), told.models, progress)
    with devices.learning(told.learner):
        pass
    assert not devices.in_turns
    assert told.done == []
    assert "switch" not in progress.total_seconds_by_phase()


def test_who_samples_leaves_before_the_learner_comes_and_the_other_way_round(run_file: Path) -> None:
    told, progress = Told(), Progress()
    config = load_config(run_file, ["editor.offload=cpu", "vlm.checker.offload=cpu", "learner.actor.offload=cpu"])
    devices = Devices(config, told.models, progress, settle=lambda: told.done.append("settled"))
    with devices.learning(told.learner):
        told.done.append("learn")
        with devices.learning(told.learner):  # a checkpoint within
            told.done.append("save")
    assert told.done == [
        "settled",
        "editor+checker sleep",
        "learner wakes",
        "learn",
        "save",
        "learner sleeps",
        "editor+checker wake",
    ]
    assert "switch" in progress.total_seconds_by_phase()


def test_a_learner_without_offload_stays_and_the_others_come_back_after_an_error(run_file: Path) -> None:
    told = Told()
    devices = Devices(load_config(run_file, ["diffuser.offload=cpu"]), told.models, Progress())
    with pytest.raises(FloatingPointError), devices.learning(told.learner):
        raise FloatingPointError
    assert told.done == ["diffuser sleep", "diffuser wake"]


def test_a_learner_elsewhere_than_it_should_be_is_refused(run_file: Path) -> None:
    config = load_config(run_file, ["placement.share=[[editor, learner.actor]]"])
    right = Told({"editor": ["GPU-1", "GPU-2"], "learner.actor": ["GPU-2"]})
    Devices(config, right.models, Progress()).prove(right.learner)
    wrong = Told({"editor": ["GPU-1"], "learner.actor": ["GPU-3"]})
    with pytest.raises(RunFailed, match=r"placement\.share: learner\.actor is on GPU GPU-3.*placement\.nodes=strict"):
        Devices(config, wrong.models, Progress()).prove(wrong.learner)
    refuse_apart({"editor": ["GPU-1"]}, config)


def test_roles_that_sample_on_other_gpus_are_refused_at_the_start(run_file: Path) -> None:
    config = load_config(run_file, ["placement.share=[[diffuser, checker]]"])
    Devices(config, Told({"diffuser": ["GPU-1"], "checker": ["GPU-1"]}).models, Progress()).prove()
    with pytest.raises(RunFailed, match="checker is on GPU GPU-2"):
        Devices(config, Told({"diffuser": ["GPU-1"], "checker": ["GPU-2"]}).models, Progress()).prove()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["editor.offload=cpu", "rollout.max_staleness=1"],
            r"editor\.offload: 'cpu' is refused with rollout\.max_",
        ),
        (["learner.actor.offload=cpu", "rollout.max_staleness=2"], r"learner\.actor\.offload: 'cpu' is refused"),
        (["editor.offload=cpu", "editor.max_workers=4"], r"editor\.offload: 'cpu' is refused with editor\.max_workers"),
        (
            ["learner.keep=true", "placement.share=[[editor, learner.actor, learner.editor]]"],
            r"learner\.keep: true is refused with placement\.share",
        ),
        (
            ["learner.actor.offload=cpu", "learner.actor.zero_stage=3", "learner.actor.ranks=2"],
            r"offload is 'cpu' with zero_stage 3.*set zero_stage 2",
        ),
    ],
)
def test_turns_that_cannot_be_are_refused(run_file: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load_config(run_file, overrides)


def test_replicas_that_are_actor_and_checker_sleep_once(run_file: Path) -> None:
    told = Told()
    vlm = ["models.checker=models/actor", "vlm.share=true", "vlm.actor.offload=cpu", "vlm.checker.offload=cpu"]
    lora = "learner.actor.lora={rank: 4, alpha: 8.0, target_modules: [q_proj]}"
    with Devices(load_config(run_file, [*vlm, lora]), told.models, Progress()).learning(told.learner):
        pass
    assert told.done == ["actor sleep", "actor wake"]
