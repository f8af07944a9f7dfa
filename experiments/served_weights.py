"""Puts trained policies behind the running replicas, one arm after the other, without starting anything anew."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rollout.models import Models
from weights.checksums import tensors_digest
from weights.manifest import publish_tensors

if TYPE_CHECKING:
    import torch


def policy_tensors(policy: str, folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a policy that lies in a folder: a transformers folder (`actor`), or a pipeline (`editor`)."""
    tensors: dict[str, torch.Tensor]
    if policy == "actor":
        from transformers import Idefics3ForConditionalGeneration

        tensors = Idefics3ForConditionalGeneration.from_pretrained(folder).state_dict()
        return tensors
    from diffusers import FluxTransformer2DModel

    tensors = FluxTransformer2DModel.from_pretrained(folder / "transformer").state_dict()
    return tensors


@dataclass
class ServedWeights:
    """Which weights the replicas of each policy hold, and how to change them. `held` are digests by policy; the models
    begin with version 0 of the folders in `start`."""

    models: Models
    start: dict[str, Path]
    versions: dict[str, int] = field(default_factory=lambda: {"actor": 0, "editor": 0})
    held: dict[str, str] = field(default_factory=dict)

    def serve(self, policy: str, folder: Path | None) -> None:
        """Give the replicas the policy in `folder`, or that of the start; nothing is sent where they hold it already.

        Raises:
            WeightMismatch: a replica does not hold what was sent.
        """
        if policy not in self.held:
            self.held[policy] = tensors_digest(policy_tensors(policy, self.start[policy]))
        tensors = policy_tensors(policy, folder or self.start[policy])
        digest = tensors_digest(tensors)
        if digest == self.held[policy]:
            return
        self.versions[policy] += 1
        self.models.apply_weights(publish_tensors(policy, self.versions[policy], tensors))
        self.held[policy] = digest
