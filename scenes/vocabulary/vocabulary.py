"""What the models of a run can be asked for: the shape world's relations, or any relation and other requirements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from scenes import requirements_reader
from scenes.scene_graph import SceneGraph
from scenes.shape_world import COLOURS, PREDICATES, SHAPES
from scenes.vocabulary import free_reader
from scenes.wording.relations import SUGGESTED

Part = tuple[str, str, str] | str
"""One requirement: subject, relation and object; or of any kind, in words."""


class Vocabulary(Protocol):
    """Reads what users ask for. An object of it can be sent to any process."""

    @property
    def predicates(self) -> tuple[str, ...]:
        """The only relations that are read; empty where any is."""

    @property
    def suggested(self) -> tuple[str, ...]:
        """Relations that a form offers."""

    @property
    def objects(self) -> tuple[str, ...]:
        """Objects that a form suggests."""

    @property
    def example(self) -> str:
        """A prompt that can be read."""

    def read(self, prompt: str) -> SceneGraph:
        """The scene graph of a prompt.

        Raises:
            NotUnderstood: a part is no requirement.
            Impossible: the requirements cannot hold together.
        """

    def graph(self, parts: Sequence[Part]) -> SceneGraph:
        """The scene graph of requirements, at least one, that are given one by one. Raises as `read`, about
        `requirements`."""


class _ShapeWorld:
    predicates = suggested = PREDICATES
    objects = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
    example = requirements_reader.EXAMPLE

    def read(self, prompt: str) -> SceneGraph:
        return requirements_reader.read_requirements(prompt, PREDICATES)

    def graph(self, parts: Sequence[Part]) -> SceneGraph:
        return requirements_reader.read_parts(parts, PREDICATES)


class _AnyWords:
    predicates: tuple[str, ...] = ()
    suggested = SUGGESTED
    objects = ("person", "red fox", "black dog", "white cat", "blue car", "wooden table", "green chair", "lamp", "tree",
               "house", "bicycle", "glass of water")  # fmt: skip
    example = free_reader.EXAMPLE

    def read(self, prompt: str) -> SceneGraph:
        return free_reader.read_any(prompt)

    def graph(self, parts: Sequence[Part]) -> SceneGraph:
        return free_reader.any_of_parts(parts)


FOUR_RELATIONS: Vocabulary = _ShapeWorld()
ANY_RELATION: Vocabulary = _AnyWords()


def vocabulary_of(source: str, dialogue: str) -> Vocabulary:
    """The vocabulary of a run with this `data.source` and this `rollout.dialogue`: any relation where neither is that
    of the shape world."""
    return FOUR_RELATIONS if source == "shape_world" or dialogue == "shapes" else ANY_RELATION
