"""What a receiver of a LoRA adapter must know besides its tensors."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """One adapted linear layer: the name of its module, and that of its matrix (outputs, inputs) in a model folder."""

    module: str
    weight: str

    @property
    def names(self) -> tuple[str, str]:
        """Names of A and B."""
        return f"{self.module}.lora_A.weight", f"{self.module}.lora_B.weight"


@dataclass(frozen=True)
class AdapterSpec:
    """What belongs to an adapter besides its tensors.

    Attributes:
        rank, alpha: the change of each matrix W is alpha / rank · B·A.
        targets: the layers that it adapts.
        dtype: number format in which the learner holds W.
        base: `base_digest` of the W that the adapter was trained on.
    """

    rank: int
    alpha: float
    targets: tuple[Target, ...]
    dtype: str
    base: str
