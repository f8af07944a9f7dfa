"""What the trajectories of a run take on the disk, with each `keep`, as far as it follows from the settings.

Checkpoints, exported models and groups without a signal come on top.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from actors.flow_path import FlowSde
from presets.keep import KEPT, Kept

if TYPE_CHECKING:
    from presets.schedule import Stage
    from presets.settings import RunSettings

_GIB = 2**30
_PIXEL_BYTES = 1.8  # of a PNG; photographs took 1.3 to 1.9, noise takes 3
_ROW_BYTES, _TOKEN_BYTES = 2048, 7  # of texts and numbers, and of a token's number and log-probability, compressed
_NUMBER_BYTES = 4  # float32, as latents are stored
_WORTH = {kept: worth for worth, kept in enumerate(reversed(KEPT))}
USUAL_LATENTS = (16, 8)
"""Channels of latents, and pixels of a latent's side, with the VAEs of FLUX.1 and Qwen-Image."""


@dataclass(frozen=True)
class PolicyDisk:
    """The trajectories of the updates that train one policy. `texts`, `images` and `latents` are bytes of an update."""

    policy: Stage
    updates: int
    kept: Kept
    texts: float
    images: float
    latents: float

    def update(self, kept: Kept) -> float:
        """Bytes of an update of which this is kept."""
        images = self.images if kept in ("all", "images") else 0.0
        return self.texts + images + (self.latents if kept in ("all", "latents") else 0.0)

    def may_become(self, kept: Kept) -> bool:
        """Whether this keeps no more than what the run file says, and is no other word for the same."""
        latents = self.latents > 0 or kept in ("images", "none")
        return kept == self.kept or (_WORTH[kept] < _WORTH[self.kept] and latents)

    def total(self, kept: Kept | None = None) -> float:
        """Bytes of all updates, of which this is kept; None: what the run file says."""
        return self.updates * self.update(kept or self.kept)


@dataclass(frozen=True)
class Disk:
    """The trajectories of a run, by policy."""

    policies: tuple[PolicyDisk, ...]

    @property
    def total(self) -> float:
        """Bytes."""
        return sum(one.total() for one in self.policies)

    def fitting(self, most: float) -> Mapping[str, Kept] | None:
        """What to keep, by policy, so that the trajectories take at most `most` bytes: never more than now, and as
        much as possible, images before latents. None where they do not fit with nothing kept."""
        choices = [[(one, kept) for kept in KEPT if one.may_become(kept)] for one in self.policies]
        fits = [choice for choice in product(*choices) if sum(one.total(kept) for one, kept in choice) <= most]
        if not fits:
            return None
        best = max(fits, key=lambda choice: sum(_WORTH[kept] for _, kept in choice))
        return {one.policy: kept for one, kept in best}

    def remedy(self, most: float) -> str:
        """The settings with which the trajectories take at most `most` bytes; empty where there are none."""
        found = self.fitting(most)
        if found is None:
            return ""
        size = sum(one.total(found[one.policy]) for one in self.policies) / _GIB
        changed = [f"keep.{one.policy}={found[one.policy]}" for one in self.policies if found[one.policy] != one.kept]
        return f"{' '.join(changed)} ({size:.3g} GiB)"


def trajectories_on_disk(config: RunSettings, latents: tuple[int, int] = USUAL_LATENTS, since: int = 0) -> Disk:
    """The trajectories of the updates from number `since` on, with an editor whose latents have this form."""
    rollout = config.rollout
    prompts, size, turns = rollout.prompts_per_update, rollout.group_size, rollout.turns
    rows = prompts * size * turns
    starts = prompts * (turns if rollout.group == "turn" else 1 + (turns - 1) * size)
    pixels = config.diffuser.size.pixels
    sampling = config.editor.sampling(config.learner.editor.algorithm)
    start, stop = sampling.stochastic_steps if isinstance(sampling, FlowSde) else (0, 0)
    channels, side = latents
    path = (stop - start + 1) * channels * pixels / side**2 * _NUMBER_BYTES
    return Disk(
        tuple(
            PolicyDisk(
                policy,
                config.schedule.updates_of(policy, since),
                config.keep.of(policy),
                texts=rows * (_ROW_BYTES + _TOKEN_BYTES * rollout.max_answer_tokens),
                images=(rows + starts) * pixels * _PIXEL_BYTES,
                latents=rows * path if policy == "editor" else 0.0,
            )
            for policy in sorted(config.trained)
        )
    )
