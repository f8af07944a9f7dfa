"""What a learner trains: a policy, by its name."""

from __future__ import annotations

from typing import Any

from learner.config import EditorLearnerConfig, LearnerConfig


def new_policy(name: str, model_path: str, config: LearnerConfig, settings: dict[str, Any]) -> Any:
    """The policy `actor` or `editor`; each loads only the libraries that it needs."""
    if name == "actor":
        from learner.vlm_policy import VlmPolicy

        return VlmPolicy(model_path, config, **settings)
    from learner.flow_policy import FlowPolicy
    from learner.nft.policy import NftPolicy

    if EditorLearnerConfig.of(config).algorithm == "nft":
        return NftPolicy(model_path, config, **settings)
    return FlowPolicy(model_path, config, **settings)
