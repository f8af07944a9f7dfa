"""The prompts of the frontier: sets by number of relations, for choosing settings and for the test."""

from __future__ import annotations

from itertools import islice

from scenes.scene_graph import SceneGraph
from scenes.shape_world import sample_graphs

VALIDATION, TEST = "validation", "test"
PHASES = (VALIDATION, TEST)
SETS = {"two": (2, 2), "three": (3, 3), "four_five": (4, 5), "six_eight": (6, 8)}
SET_WORDS = {
    "two": "two relations",
    "three": "three relations",
    "four_five": "four or five relations",
    "six_eight": "six to eight relations",
}
BATCH = 16
"""Prompts that are measured together, and samples in a call whose seconds are measured."""
_FIRST_SEED = {VALIDATION: 5010, TEST: 6010}


def seed_of(phase: str, prompts: str) -> int:
    """The seed of a set; no two sets share one, and none is that of the page of results."""
    return _FIRST_SEED[phase] + list(SETS).index(prompts)


def graphs_of(phase: str, prompts: str, count: int) -> list[SceneGraph]:
    """The first `count` prompts of a set, of object combinations that no run trains on."""
    return list(islice(sample_graphs("held_out", seed_of(phase, prompts), SETS[prompts]), count))
