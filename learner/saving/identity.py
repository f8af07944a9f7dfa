"""What a saved state and the learner that loads it must have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from learner.config import LearnerConfig
    from weights.adapter_spec import AdapterSpec


def identity(policy: str, config: LearnerConfig, adapter: AdapterSpec | None) -> dict[str, Any]:
    """As JSON: the policy, how it is split, and what trains of which base weights."""
    return {
        "policy": policy,
        "ranks": config.ranks,
        "zero_stage": config.zero_stage,
        "lora": config.lora and config.lora.model_dump(mode="json"),
        "base": adapter and adapter.base,
    }


def refuse_other(folder: str, saved: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Raise ValueError where a saved state is not of a learner of the same identity; the message names the field."""
    for field, value in own.items():
        if saved.get(field) != value:
            raise ValueError(f"{folder}: it was saved with {field} {saved.get(field)!r}, this learner has {value!r}")
