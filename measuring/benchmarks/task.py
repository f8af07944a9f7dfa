"""One prompt of a benchmark, as published and as the loop takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scenes.scene_graph import Item, Relation, SceneGraph, number_repeated_names


@dataclass(frozen=True)
class WordedGraph(SceneGraph):
    """A scene graph that is drawn by the words of the benchmark; Actor and Checker get its requirements as always."""

    words: str = ""

    @property
    def prompt(self) -> str:
        """The prompt as it was published."""
        return self.words

    @property
    def drawing(self) -> str:
        """The same."""
        return self.words


@dataclass(frozen=True)
class Task:
    """One prompt.

    Attributes:
        key: what its pictures are called by: its place from 0, or the id that the benchmark gives it.
        text: the prompt as published, which the Diffuser draws.
        graph: what the loop corrects; None where the prompt asks for no relation: then it is drawn and nothing more.
        record: as published.
    """

    key: str
    text: str
    graph: SceneGraph | None
    record: Mapping[str, Any] = field(default_factory=dict)


def related(key: str, text: str, subject: str, predicate: str, other: str) -> WordedGraph:
    """The scene graph of two items in one relation."""
    items = number_repeated_names((Item(0, subject), Item(1, other)))
    return WordedGraph(key, items, (Relation(0, predicate, 1),), words=text)
