"""On which nodes a role runs: the nodes' label `rlrig-role`, and what Ray is asked that follows from it."""

from __future__ import annotations

from typing import Any, Literal

from scenes.section import Section

LABEL = "rlrig-role"
NodeRole = Literal["image", "vlm", "learner"]


class PlacementConfig(Section):
    """On which nodes the roles run. A node says with its label `rlrig-role` what it is for: `image` (Diffuser and
    Inverse Diffuser), `vlm` (Actor and Checker) or `learner` (its ranks)."""

    nodes: Literal["any", "preferred", "strict"] = "any"
    """`any`: wherever Ray finds room. `strict`: only on nodes with the role's label; without one, nothing starts.
    `preferred`: on such nodes while they have room, otherwise anywhere; Ray knows no preference for the placement
    groups of Serve, so with it the VLMs run anywhere."""

    def actor_options(self, role: NodeRole) -> dict[str, Any]:
        """Options of the Ray actors of a role."""
        if self.nodes == "any":
            return {}
        selector: dict[str, Any] = {"label_selector": {LABEL: role}}
        return selector if self.nodes == "strict" else {**selector, "fallback_strategy": [{"label_selector": {}}]}

    def required(self, role: NodeRole) -> dict[str, str]:
        """Labels that a node must have to hold the role."""
        return {LABEL: role} if self.nodes == "strict" else {}

    def preferred(self, role: NodeRole) -> dict[str, str]:
        """Labels of the nodes that the role goes to while they have room."""
        return {LABEL: role} if self.nodes == "preferred" and role != "vlm" else {}
