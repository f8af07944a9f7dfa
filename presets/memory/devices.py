"""What lies on a device at a time: roles that share it, the peak of each phase, and whether it fits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from presets.memory.estimate import Estimate, Term, gib

Phase = Literal["rollout", "update"]
PHASES: tuple[Phase, ...] = ("rollout", "update")
CONTEXT_GIB = 0.5
"""CUDA's context and libraries, of each process: 0.3 to 0.6 GiB on current GPUs."""
_GIB = 2**30


@dataclass(frozen=True)
class Resident:
    """The processes of one role.

    Attributes:
        role: as `placement.share` may name it: diffuser, editor, actor, checker, learner.actor, learner.editor.
        processes: how many.
        gpus: of each; below 1 several share a device.
        works: what one of them holds in the phases in which it works.
        sleeps: it is in CPU memory while it does not work.
        policy: of a learner's ranks: they exist only while it trains.
        trains: the policy that those train which are there all the time: in the update of another one they are idle.
    """

    role: str
    processes: int
    gpus: float
    works: Mapping[Phase, Estimate]
    sleeps: bool = False
    policy: str | None = None
    trains: str | None = None

    @property
    def kept(self) -> float:
        """Bytes of one that does not work."""
        return max(estimate.kept for estimate in self.works.values())

    @property
    def idle(self) -> float:
        """Bytes on its device of one that does not work and does not sleep: a cache is not given back."""
        return max(estimate.known - estimate.of(("activations",)) for estimate in self.works.values())

    @property
    def complete(self) -> bool:
        """Whether all of it is known."""
        return all(estimate.complete for estimate in self.works.values())


@dataclass(frozen=True)
class Peak:
    """The most that a device holds in a phase.

    Attributes:
        policy: the learner that is there meanwhile; None where there is none on it.
        nbytes: on the device, with CUDA's contexts.
        asleep: bytes in CPU memory meanwhile.
        how: the arithmetic.
    """

    phase: Phase
    policy: str | None
    nbytes: float
    asleep: float
    how: str


@dataclass(frozen=True)
class Device:
    """Devices that hold the same.

    Attributes:
        count: how many there are.
        holds: the roles on each, with `processes` the number on one device.
        gib: its memory; None where it is not known.
    """

    count: int
    holds: tuple[Resident, ...]
    gib: float | None = None

    @property
    def name(self) -> str:
        """Its roles."""
        return " + ".join(resident.role for resident in self.holds)

    @property
    def complete(self) -> bool:
        """Whether all that lies on it is known."""
        return all(resident.complete for resident in self.holds)

    @property
    def peaks(self) -> tuple[Peak, ...]:
        """For each phase in which one of its roles works the most that it holds, by policy."""
        trained = {policy for one in self.holds if (policy := one.policy or one.trains)}
        policies: list[str | None] = [*sorted(trained)] or [None]
        found = (self._peak(phase, policy) for policy in policies for phase in PHASES)
        return tuple(peak for peak in found if peak is not None)

    @property
    def peak(self) -> Peak:
        """The greatest of them."""
        return max(self.peaks, key=lambda peak: peak.nbytes)

    @property
    def too_much(self) -> float:
        """Bytes that are missing; 0 where it fits, or where its memory is not known."""
        return 0.0 if self.gib is None else max(0.0, self.peak.nbytes - self.gib * _GIB)

    def _peak(self, phase: Phase, policy: str | None) -> Peak | None:
        here = [resident for resident in self.holds if resident.policy in (None, policy)]
        if not any(phase in resident.works for resident in here):
            return None
        total, asleep, parts = 0.0, 0.0, []
        for resident in here:
            others = phase == "update" and resident.trains not in (None, policy)
            working = None if others else resident.works.get(phase)
            if resident.sleeps and working is None:
                asleep += resident.processes * resident.kept
                continue
            each = resident.idle if working is None else working.known
            total += resident.processes * each
            parts.append(_said(resident, "" if working else ", idle", each))
        contexts = sum(resident.processes for resident in here)
        parts.append(f"{contexts} × {CONTEXT_GIB:g} GiB of CUDA")
        return Peak(phase, policy, total + contexts * CONTEXT_GIB * _GIB, asleep, " + ".join(parts))


def arrange(
    residents: Sequence[Resident], share: Sequence[Sequence[str]] = (), gib: float | None = None
) -> tuple[Device, ...]:
    """The devices of a run: one kind for each group of roles that share, and one for each other role with GPUs.

    A group has as many devices as its largest role has processes; a role by itself as many as it asks for, on which
    several lie where each takes a fraction, as Ray counts them.

    Args:
        share: groups of roles on the same devices, by `Resident.role`.
    """
    by_role = {resident.role: resident for resident in residents if resident.gpus > 0}
    shared = {role for group in share for role in group}
    groups = [[role for role in group if role in by_role] for group in share]
    groups += [[role] for role in by_role if role not in shared]
    devices = []
    for group in groups:
        if not group:
            continue
        here = [by_role[role] for role in group]
        count = _whole(here[0].processes * here[0].gpus)
        if len(here) > 1:
            count = max(resident.processes for resident in here)
        each = tuple(
            replace(resident, processes=_whole(resident.processes * max(1.0, resident.gpus) / count))
            for resident in here
        )
        devices.append(Device(count, each, gib))
    return tuple(devices)


def _whole(gpus: float) -> int:
    return math.ceil(round(gpus, 4))  # Ray counts in ten-thousandths


def in_short(device: Device) -> str:
    """A device's roles, how many there are, and its peaks, as the heads of the presets have them:
    `editor + learner.editor, on 6 GPUs: rollout 40.4 GiB (33.2 asleep), update 38.6 GiB (31.4 asleep)`."""
    peaks = [
        f"{peak.phase}{f' ({peak.policy})' if len({one.policy for one in device.peaks}) > 1 else ''} "
        f"{gib(peak.nbytes)}{f' ({peak.asleep / _GIB:.1f} asleep)' if peak.asleep else ''}"
        for peak in device.peaks
    ]
    return f"{device.name}, on {device.count} GPU{'s' if device.count > 1 else ''}: {', '.join(peaks)}"


def _said(resident: Resident, state: str, each: float) -> str:
    number = f"{resident.processes} × " if resident.processes > 1 else ""
    return f"{number}{resident.role}{state} {gib(each)}"


def largest_terms(device: Device, most: int = 3) -> list[tuple[str, Term]]:
    """The largest terms of what lies on a device, with their roles."""
    found = ((one.role, term) for one in device.holds for estimate in one.works.values() for term in estimate.terms)
    terms = list(dict.fromkeys(found))
    return sorted(terms, key=lambda pair: -(pair[1].nbytes or 0.0))[:most]
