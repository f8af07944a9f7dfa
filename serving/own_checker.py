"""A requirement checker that the user brings, in the place of the VLM's answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from scenes.dialogues.dialogue import SHAPES, Dialogue
from scenes.entry_point import is_entry_point, load_entry_point
from scenes.scene_graph import AnyRequirement
from serving.checker import LEAST_MASS, Checker
from serving.generation import Vlm

Ask = Callable[[Sequence[np.ndarray], Sequence[Sequence[AnyRequirement]]], list[list[float]]]
"""For each image (H, W, 3) uint8 and its requirements, the probability in [0, 1] that each of them holds."""
OwnFunction = Callable[
    [Sequence[np.ndarray], Sequence[Sequence[AnyRequirement]], Ask], Sequence[Sequence[float]] | np.ndarray
]


class Asked(Protocol):
    """What own code may ask: a `Checker`."""

    unanswered: int

    def satisfaction(
        self, images: Sequence[np.ndarray], requirements: Sequence[Sequence[AnyRequirement]]
    ) -> list[list[float]]: ...


class OwnChecker:
    """Yes-probabilities for requirements, as a function of the user's gives them.

    The function is called with the images, the requirements of each, and `Checker.satisfaction` of the VLM, for what
    it would rather ask that. What it returns is like that of `Checker.satisfaction`.

    `compute_seconds` is the time in that function so far, that of the VLM included.
    """

    def __init__(self, name: str, function: OwnFunction, vlm: Asked) -> None:
        self.name, self._function, self._vlm = name, function, vlm
        self.compute_seconds = 0.0

    @property
    def unanswered(self) -> int:
        """Questions to the VLM so far whose most likely answer was neither yes nor no."""
        return self._vlm.unanswered

    def satisfaction(
        self, images: Sequence[np.ndarray], requirements: Sequence[Sequence[AnyRequirement]]
    ) -> list[list[float]]:
        """The probability in [0, 1] that each requirement of `requirements[i]` holds in `images[i]`.

        Raises:
            ValueError: the function returned another number of values, or one outside [0, 1]. NaN passes: it says that
                the image could not be judged, and the member is rejected.
        """
        began = time.monotonic()
        found = [
            [float(value) for value in row] for row in self._function(images, requirements, self._vlm.satisfaction)
        ]
        self.compute_seconds += time.monotonic() - began
        counts, wanted = [len(row) for row in found], [len(row) for row in requirements]
        if counts != wanted:
            raise ValueError(
                f"rollout.checker: {self.name} returned {counts} values for {wanted} requirements; return one for each "
                "requirement of each image"
            )
        if outside := [value for row in found for value in row if value < 0 or value > 1]:
            raise ValueError(f"rollout.checker: {self.name} returned {outside[0]}; a probability is within [0, 1]")
        return found


def new_checker(
    name: str, vlm: Vlm, dialogue: Dialogue = SHAPES, least_mass: float = LEAST_MASS
) -> Checker | OwnChecker:
    """The checker that `rollout.checker` names: `vlm`, or the function at `module:name`.

    Raises:
        EntryPointError: there is no such code.
    """
    checker = Checker(vlm, dialogue, least_mass)
    if not is_entry_point(name):
        return checker
    return OwnChecker(name, load_entry_point("rollout.checker", name), checker)
