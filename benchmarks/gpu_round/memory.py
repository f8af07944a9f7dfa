"""Memory of a round: what the plan says, and what a card and its processes held."""

from __future__ import annotations

import threading
from types import TracebackType

import torch

from presets.checks import deployed_vlms
from presets.memory.estimate import Estimate
from presets.memory.image_models import image_worker
from presets.memory.learners import learner_rank
from presets.memory.run_devices import run_devices
from presets.memory.sizes import Sizes
from presets.memory.vlms import vlm_replica
from presets.run_config import RunConfig

_EVERY_S = 0.02
_GIB = 2**30


class CardWatch:
    """The most that all processes together hold on the first card, beyond what was there before; read from the driver,
    with caches and contexts.

    Args:
        there: whether there is a card; without one nothing is watched.
    """

    def __init__(self, there: bool) -> None:
        self._there, self._most = there, 0
        self._before = used_bytes() if there else 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> CardWatch:
        if self._there:
            self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        if self._there:
            self._thread.join()

    def take(self) -> float | None:
        """The most GiB since the last call; None without a card."""
        most, self._most = self._most, 0
        return (most - self._before) / _GIB if self._there else None

    def _watch(self) -> None:
        while not self._ended.wait(_EVERY_S):
            self._most = max(self._most, used_bytes())


def used_bytes() -> int:
    """What all processes together hold on the first card."""
    free, total = torch.cuda.mem_get_info(0)
    return total - free


def planned_roles(config: RunConfig, gpu_gib: float | None) -> dict[str, Estimate]:
    """What each process of a round holds, by role; see `rlrig plan`."""
    sizes = Sizes(ask_hub=False)
    vlms = {role: vlm_replica(vlm, sizes, gpu_gib) for role, vlm in deployed_vlms(config).items()}
    learners = {f"learner.{policy}": learner_rank(config, policy, sizes) for policy in sorted(config.trained)}
    return {"editor": image_worker(config, "editor", sizes), **vlms, **learners}


def planned_phases(config: RunConfig, gpu_gib: float | None) -> dict[str, float]:
    """GiB on the card in each phase, with CUDA's contexts: in the rollout, and in the update of each policy.

    Args:
        config: with all roles on one GPU.
    """
    (device,) = run_devices(config, Sizes(ask_hub=False), gpu_gib)
    found: dict[str, float] = {}
    for peak in device.peaks:
        name = peak.phase if peak.phase == "rollout" else f"{peak.phase} of the {peak.policy}"
        found[name] = max(found.get(name, 0.0), peak.nbytes / _GIB)
    return found
