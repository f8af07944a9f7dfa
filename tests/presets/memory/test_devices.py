"""Peaks of devices that roles share, in turns or at the same time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets.memory.devices import CONTEXT_GIB, Device, Resident, arrange, largest_terms
from presets.memory.estimate import Estimate, Term

GIB = 2**30


def estimate(**parts: float) -> Estimate:
    """GiB by part."""
    return Estimate(tuple(Term(part, amount * GIB, part) for part, amount in parts.items()))


WORKER = estimate(weights=30, activations=8)
VLM = estimate(weights=15, activations=1, kv_cache=16)
RANK = estimate(weights=20, gradients=1, optimizer=2, activations=10)


def device(*holds: Resident, gib: float | None = 80.0) -> Device:
    return Device(1, holds, gib)


def rollout(role: str, what: Estimate, **more) -> Resident:
    return Resident(role, more.pop("processes", 1), more.pop("gpus", 1.0), {"rollout": what}, **more)


def update(policy: str, what: Estimate, **more) -> Resident:
    return Resident(f"learner.{policy}", 1, 1.0, {"update": what}, policy=policy, **more)


def peaks(found: Device) -> dict[tuple[str, str | None], tuple[float, float]]:
    """GiB without contexts on the device, and in CPU memory, by phase and policy."""
    contexts = CONTEXT_GIB * sum(one.processes for one in found.holds if one.policy in (None, found.holds[-1].policy))
    return {(p.phase, p.policy): (p.nbytes / GIB - contexts, p.asleep / GIB) for p in found.peaks}


def test_what_does_not_work_keeps_its_weights_and_a_cache_its_room():
    found = peaks(device(rollout("checker", VLM), update("editor", RANK)))
    assert found == {("rollout", "editor"): (32 + 23, 0), ("update", "editor"): (31 + 33, 0)}


def test_sleepers_take_turns_and_wait_in_cpu_memory():
    turns = device(rollout("editor", WORKER, sleeps=True), update("editor", RANK, sleeps=True))
    assert peaks(turns) == {("rollout", "editor"): (38, 23), ("update", "editor"): (33, 30)}
    both = device(rollout("diffuser", WORKER, sleeps=True), rollout("checker", VLM, sleeps=True))
    assert peaks(both) == {("rollout", None): (32 + 38, 0)}  # it is the turn of both
    beside = device(rollout("diffuser", WORKER, sleeps=True), rollout("checker", VLM), update("editor", RANK))
    assert peaks(beside) == {("rollout", "editor"): (32 + 38 + 23, 0), ("update", "editor"): (31 + 33, 30)}


def test_a_learner_is_there_only_while_its_policy_trains():
    found = device(rollout("checker", VLM), update("actor", RANK), update("editor", WORKER))
    sums = {key: nbytes for key, (nbytes, _) in peaks(found).items()}
    assert sums == {
        ("rollout", "actor"): 32 + 23, ("update", "actor"): 31 + 33,
        ("rollout", "editor"): 32 + 30, ("update", "editor"): 31 + 38,
    }  # fmt: skip
    assert (found.peak.phase, found.peak.policy) == ("update", "editor")
    assert found.peak.how == "checker, idle 31.0 GiB + learner.editor 38.0 GiB + 2 × 0.5 GiB of CUDA"


def test_what_fits_depends_on_the_devices_memory_and_on_what_is_known():
    assert device(rollout("editor", WORKER), gib=39.0).too_much == 0
    assert device(rollout("editor", WORKER), gib=38.0).too_much == 0.5 * GIB
    assert device(rollout("editor", WORKER), gib=None).too_much == 0
    unknown = Estimate((*WORKER.terms, Term("kv_cache", None, "why")))
    assert device(rollout("editor", WORKER)).complete
    assert not device(rollout("editor", unknown)).complete


def test_roles_that_share_are_counted_on_each_device():
    roles = [
        rollout("diffuser", WORKER, processes=2), rollout("checker", VLM, processes=2, gpus=0.5),
        rollout("editor", WORKER, processes=6, gpus=0.5), rollout("actor", VLM, gpus=2.0),
        rollout("cpu", VLM, gpus=0.0),
    ]  # fmt: skip
    found = arrange(roles, share=[["diffuser", "checker"]], gib=80.0)
    assert [(one.name, one.count, [it.processes for it in one.holds]) for one in found] == [
        ("diffuser + checker", 2, [1, 1]),
        ("editor", 3, [2]),
        ("actor", 2, [1]),
    ]


def test_a_group_has_a_device_for_each_process_of_its_largest_role():
    roles = [rollout("editor", WORKER, processes=6, gpus=0.5001)]
    roles += [Resident(f"learner.{policy}", 6, 0.25, {"update": RANK}, policy=policy) for policy in ("actor", "editor")]
    (found,) = arrange(roles, share=[["editor", "learner.editor", "learner.actor"]])
    assert (found.count, [one.processes for one in found.holds]) == (6, [1, 1, 1])
    thirds = [rollout(role, VLM, processes=3, gpus=1 / 3) for role in ("checker", "diffuser")]
    assert [one.count for one in arrange(thirds)] == [1, 1]


def test_the_largest_terms_are_told_once():
    both = Resident("editor", 1, 1.0, {"rollout": WORKER, "update": WORKER})
    assert [(role, term.part) for role, term in largest_terms(device(both))] == [
        ("editor", "weights"),
        ("editor", "activations"),
    ]


AMOUNTS = st.builds(
    lambda w, g, o, a, k: estimate(weights=w, gradients=g, optimizer=o, activations=a, kv_cache=k),
    *[st.integers(0, 50)] * 5,
)
RESIDENTS = st.lists(
    st.builds(
        lambda estimate, phases, sleeps, processes: (estimate, phases, sleeps, processes),
        AMOUNTS, st.sets(st.sampled_from(["rollout", "update"]), min_size=1), st.booleans(), st.integers(1, 3),
    ),
    min_size=1, max_size=4,
)  # fmt: skip


@given(RESIDENTS, st.integers(0, 3))
def test_sleep_never_takes_more_and_nothing_is_lost(drawn, nth):
    def peak(awake: int | None) -> list[tuple[float, float]]:
        holds = tuple(
            Resident(f"role {n}", processes, 1.0, dict.fromkeys(sorted(phases), what), sleeps and n != awake)
            for n, (what, phases, sleeps, processes) in enumerate(drawn)
        )
        return [(one.nbytes, one.asleep) for one in device(*holds).peaks]

    kept = sum(processes * what.kept for what, _, _, processes in drawn)
    for (nbytes, asleep), (more, less) in zip(peak(None), peak(nth % len(drawn)), strict=True):
        assert nbytes <= more + 1e-3
        assert asleep >= less - 1e-3
        assert nbytes + asleep >= kept == pytest.approx(kept)
