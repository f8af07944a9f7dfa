"""What switches cost where roles take turns on GPUs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets.memory.devices import Device, Resident, arrange
from presets.memory.estimate import Estimate, Term
from presets.memory.switches import PAGEABLE_GB_S, PINNED_GB_S, Switch, switches_of
from presets.run_config import RunConfig
from presets.run_file import load_config
from tests.places import PRESET

GIB = 2**30
ANSWERS = ["rollout.prompts_per_update=4", "rollout.group_size=5", "rollout.turns=3", "rollout.concurrency=8"]


def config(stage: str = "editor") -> RunConfig:
    return load_config(PRESET, [f"stages=[{{stage: {stage}, updates: 2}}]", *ANSWERS])


def role(name: str, weights: float, *, processes: int = 1, gpus: float = 1.0, sleeps: bool = True) -> Resident:
    """A role with so many GiB of weights, 3 of what it needs only while it works, and 4 of cache."""
    terms = (Term("weights", weights * GIB, ""), Term("activations", 3 * GIB, ""), Term("kv_cache", 4 * GIB, ""))
    phase = "update" if name.startswith("learner.") else "rollout"
    return Resident(name, processes, gpus, {phase: Estimate(terms)}, sleeps)


def one(switches: tuple[Switch, ...]) -> Switch:
    (found,) = switches
    return found


def test_weights_move_and_what_is_needed_for_work_alone_does_not() -> None:
    device = Device(
        1, (role("editor", 20), role("actor", 8), role("learner.editor", 15), role("checker", 9, sleeps=False))
    )
    found = one(switches_of(config(), [device]))
    assert (found.sampling / GIB, found.learner / GIB) == (28, 15)
    seconds = 2 * GIB / 1e9 * (35 / PAGEABLE_GB_S + 8 / PINNED_GB_S)
    assert found.seconds == pytest.approx(seconds)
    assert found.update_s == pytest.approx(10 * seconds)
    assert found.answers == 4 * 5 * 3


def test_a_role_moves_on_all_its_gpus_together_and_processes_of_one_gpu_share_its_link() -> None:
    alone = one(switches_of(config(), arrange([role("editor", 20)])))
    six = one(switches_of(config(), arrange([role("editor", 20, processes=6)])))
    two_on_each = one(switches_of(config(), arrange([role("editor", 20, processes=6, gpus=0.5)])))
    assert six.seconds == alone.seconds
    assert two_on_each.seconds == pytest.approx(2 * alone.seconds)


def test_only_the_learner_of_the_policy_that_trains_comes() -> None:
    both = [Device(1, (role("editor", 20), role("learner.actor", 5), role("learner.editor", 15)))]
    found = {switch.policy: switch.learner / GIB for switch in switches_of(config("alternate"), both)}
    assert found == {"actor": 5, "editor": 15}
    assert one(switches_of(config("actor"), both)).policy == "actor"


def test_where_nobody_leaves_there_is_no_switch() -> None:
    assert switches_of(config(), [Device(1, (role("editor", 20, sleeps=False),))]) == ()
    assert switches_of(config(), []) == ()


@given(sizes=st.lists(st.floats(0.1, 80), min_size=2, max_size=2))
def test_at_the_length_that_is_told_switches_are_a_tenth(sizes: list[float]) -> None:
    sampling, learner = sizes
    found = one(switches_of(config(), [Device(1, (role("editor", sampling), role("learner.editor", learner)))]))
    assert found.seconds / found.update_s == pytest.approx(0.1)
    assert f"{found.seconds:.1f} s; at most 10% of an update of {found.update_s:.0f} s" in str(found)
