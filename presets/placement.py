"""On which nodes and GPUs a role runs: the nodes' label `rlrig-role`, who shares a GPU, and what Ray is asked that
follows from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from pydantic import Field, field_validator

from scenes.section import Section

LABEL = "rlrig-role"
NodeRole = Literal["image", "vlm", "learner"]
SharingRole = Literal["diffuser", "editor", "actor", "checker", "learner.actor", "learner.editor"]
GPU_KEYS: dict[str, str] = {  # in the order in which roles start
    "diffuser": "diffuser.gpus",
    "editor": "editor.gpus",
    "actor": "vlm.actor.gpus",
    "checker": "vlm.checker.gpus",
    "learner.actor": "learner.actor.gpus_per_rank",
    "learner.editor": "learner.editor.gpus_per_rank",
}
_UNITS = 10_000  # in which Ray counts a resource


class PlacementConfig(Section):
    """On which nodes the roles run. A node says with its label `rlrig-role` what it is for: `image` (Diffuser and
    Inverse Diffuser), `vlm` (Actor and Checker) or `learner` (its ranks)."""

    nodes: Literal["any", "preferred", "strict"] = "any"
    """`any`: wherever Ray finds room. `strict`: only on nodes with the role's label; without one, nothing starts.
    `preferred`: on such nodes while they have room, otherwise anywhere; Ray knows no preference for the placement
    groups of Serve, so with it the VLMs run anywhere."""

    share: list[list[SharingRole]] = Field(default_factory=list)
    """Roles on the same GPUs, as `[[diffuser, checker], [editor, learner.editor]]`: the first GPU holds the first
    process of each, and so on. What they set aside of a GPU follows. A GPU's memory must hold them together, or
    `offload` lets them take turns."""

    @field_validator("share")
    @classmethod
    def _a_role_shares_once(cls, share: list[list[SharingRole]]) -> list[list[SharingRole]]:
        for group in share:
            if len(group) < 2 or all(role.startswith("learner.") for role in group):
                raise ValueError(
                    f"{group} is refused: name two roles or more that are there at the same time; a learner shares "
                    "with a role that samples"
                )
        if twice := [role for role, count in Counter(role for group in share for role in group).items() if count > 1]:
            raise ValueError(f"{twice[0]!r} is there twice: a role shares the GPUs of one group")
        return share

    def leader(self, role: str) -> str | None:
        """The role on whose GPUs this one is placed; None for one that leads its group, or shares with nobody."""
        for group in self.share:
            first, *others = in_order(group)
            if role in others:
                return first
        return None

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


def in_order(group: Sequence[str]) -> list[str]:
    """Roles in the order in which they start; the first one's processes choose the GPUs."""
    return sorted(group, key=list(GPU_KEYS).index)


def parts_of_gpus(share: object) -> dict[str, float]:
    """What each role of `placement.share` sets aside of a GPU, by the key that says it; empty for what is no such list.

    Ray places a process on the GPU with the least room that is enough. So that the processes of one role never meet on
    a GPU, and those of the next role meet them there, each role takes a bit more than half of what is left: 0.5001 by
    the first, then 0.25, 0.125, … The rest is there for senders of weights.
    """
    parts = {}
    for group in share if isinstance(share, list) else []:
        if not isinstance(group, list) or any(role not in get_args(SharingRole) for role in group):
            continue
        left = _UNITS
        for role in in_order(group):
            part = left // 2 + 1
            parts[GPU_KEYS[role]] = part / _UNITS
            if not role.startswith("learner."):  # one learner is there at a time
                left -= part
    return parts


def apart(gpus: Mapping[str, Sequence[str]], share: Sequence[Sequence[str]]) -> list[str]:
    """What does not lie as `placement.share` says: each line names the roles and the GPUs.

    Args:
        gpus: the GPU of each process, by role; roles that do not run are left out.
    """
    problems = []
    for group in share:
        leader, *others = [role for role in in_order(group) if role in gpus] or [""]
        for role in others:
            elsewhere = Counter(gpus[role]) - Counter(dict.fromkeys(gpus[leader], 1))
            if elsewhere:
                where = ", ".join(sorted(elsewhere))
                problems.append(f"{role} is on GPU {where}, where there is no {leader} or another process of it")
    return problems
