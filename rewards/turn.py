"""What a scorer sees of a turn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenes.scene_graph import SceneGraph

Key = tuple[int, int, str]


@dataclass(frozen=True, eq=False)
class ScoredTurn:
    """One member's turn: an image, what the Actor wrote about it, and what the editor made of it.

    Attributes:
        group: number of the group, the same for all that are compared with each other.
        stage: the policy that trains, `actor` or `editor`.
        graph: what the image should show.
        source, image: before and after the edit, (H, W, 3) uint8.
        satisfaction_before, satisfaction_after: the Checker's yes-probability of each of `graph.requirements`, in that
            order, for `source` and for `image`; NaN where it gave none.
        reflection, edit_prompt: what the Actor saw to be wrong, and what the editor was told.
        answer, tokens: the Actor's answer as it came, and how many tokens it has.
        still: the turn changes nothing: `image` is `source` and the texts are empty. It stands for the image that a
            group starts from, whose value is recorded and compared with nothing.
    """

    group: int
    stage: str
    graph: SceneGraph
    source: np.ndarray
    image: np.ndarray
    satisfaction_before: list[float]
    satisfaction_after: list[float]
    reflection: str = ""
    edit_prompt: str = ""
    answer: str = ""
    tokens: int = 0
    still: bool = False

    @property
    def key(self) -> Key:
        """Equal for turns of a batch that no scorer can tell apart: the images are the same objects."""
        return id(self.source), id(self.image), self.answer


def still_turn(group: int, stage: str, graph: SceneGraph, image: np.ndarray, satisfaction: list[float]) -> ScoredTurn:
    """The image that a group starts from, as a turn that changes nothing."""
    return ScoredTurn(group, stage, graph, image, image, satisfaction, satisfaction, still=True)
