"""What it costs that roles take turns on GPUs: the bytes that leave and come at a switch, and their seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from presets.memory.devices import Device, Resident
from presets.memory.estimate import gib

if TYPE_CHECKING:
    from presets.settings import RunSettings

PINNED_GB_S = 25.0
"""What a GPU's link carries from and to pinned memory, in 10⁹ bytes a second and direction: about 80 % of PCIe 4.0 with
16 lanes, 16·10⁹ transfers a second × 16 lanes × 128/130 / 8 bits = 31.5 (PCI-SIG)."""
PAGEABLE_GB_S = 0.4 * PINNED_GB_S
"""The same with memory that the system may move, through the driver's own buffer: 2.3 of 5.8 in NVIDIA's "How to
Optimize Data Transfers in CUDA C/C++". Most of what image workers and learners move is in such memory."""
SHARE = 0.1
"""The most that an update's switches should take of it."""
_PINNED = ("actor", "checker")  # vLLM's sleep copies weights to pinned memory


@dataclass(frozen=True)
class Switch:
    """The two switches of an update that trains one policy: those who sample leave and its learner comes, and back.

    Attributes:
        policy: that trains.
        sampling: bytes on a GPU that leave when the learner's turn begins, and come back.
        learner: bytes on a GPU that come then, and leave again.
        seconds: of both switches. Roles move one after the other, the processes of a role on several GPUs together.
        answers: of all members in all turns of an update.
    """

    policy: str
    sampling: float
    learner: float
    seconds: float
    answers: int

    @property
    def update_s(self) -> float:
        """The seconds of an update from which on the switches take at most `SHARE` of it."""
        return self.seconds / SHARE

    def __str__(self) -> str:
        moved = f"{gib(self.sampling)} leave and {gib(self.learner)} come, and back"
        return (
            f"switches of an update ({self.policy}): {moved}, "
            f"{self.seconds:.1f} s; at most {SHARE:.0%} of an update of {self.update_s:.0f} s or more, "
            f"{self.update_s / self.answers:.2f} s for each of {self.answers} answers"
        )


def switches_of(config: RunSettings, devices: Sequence[Device]) -> tuple[Switch, ...]:
    """For each policy that trains while roles leave their GPUs (`offload: cpu`): what the switches of its updates cost.

    How long an update takes is not known before a run, so that the length is told from which on they are cheap. What
    text encoders take that come for prompts (`text_offload`) is not in it.
    """
    sleepers = [one for device in devices for one in device.holds if one.sleeps]
    found = []
    for policy in sorted(config.trained):
        learner = [one for one in sleepers if one.role == f"learner.{policy}"]
        sampling = [one for one in sleepers if not one.role.startswith("learner.")]
        if learner or sampling:
            rollout = config.rollout
            found.append(
                Switch(
                    policy,
                    sum(map(_moved, sampling)),
                    sum(map(_moved, learner)),
                    2 * sum(_moved(one) / (_rate(one) * 1e9) for one in (*sampling, *learner)),
                    rollout.prompts_per_update * rollout.group_size * rollout.turns,
                )
            )
    return tuple(found)


def _moved(resident: Resident) -> float:
    """Bytes of a role on one GPU: what it keeps while it does not work."""
    return resident.processes * resident.kept


def _rate(resident: Resident) -> float:
    return PINNED_GB_S if resident.role in _PINNED else PAGEABLE_GB_S
