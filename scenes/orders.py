"""Requirements that cannot all hold: relations whose items would have to stand in a circle, and two counts of one
item."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from scenes.kinds.kinds import Count
from scenes.scene_graph import Requirement, SceneGraph

_ORDERS = {  # predicate → its order, and whether the subject comes first in it
    "left of": ("across", True),
    "right of": ("across", False),
    "above": ("down", True),
    "below": ("down", False),
}
_COUNT = {2: "these two cannot both hold", 3: "these three cannot all hold"}


def contradictions(graph: SceneGraph, meanings: Mapping[str, str] | None = None) -> list[str]:
    """Requirements of a graph that cannot hold together, one line for each circle: `these two cannot both hold: …`.

    `left of` and `right of`, and `above` and `below`, order items; nothing is known of other predicates. Two counts of
    one item contradict each other.

    Args:
        meanings: other words for these four, in small letters, and which of them each stands for.
    """
    found = []
    for order in ("across", "down"):
        edges = []
        for one in graph.related:
            predicate = one.predicate.lower()
            sort, first = _ORDERS.get((meanings or {}).get(predicate, predicate), ("", True))
            if sort == order:
                edges.append(_Edge(one, *((one.subject, one.object) if first else (one.object, one.subject))))
        if circle := [edge.requirement for edge in _circle(edges)]:
            what = _COUNT.get(len(circle), f"these {len(circle)} cannot all hold")
            found.append(f"{what}: {'; '.join(one.text for one in circle)}")
    counts: dict[str, Count] = {}
    for other in graph.others:
        if isinstance(other, Count):
            before = counts.setdefault(other.item.lower(), other)
            if before.number != other.number:
                found.append(f"{_COUNT[2]}: {before.text}; {other.text}")
    return found


def is_order(predicate: str) -> bool:
    """Whether a predicate orders items."""
    return predicate.lower() in _ORDERS


def circular(triples: Iterable[tuple[Hashable, str, Hashable]]) -> bool:
    """Whether these triples of an item, a predicate that orders and an item contradict each other: quicker than
    `contradictions`, which says how."""
    edges: dict[str, set[tuple[Hashable, Hashable]]] = {"across": set(), "down": set()}
    for subject, predicate, object_ in triples:
        order, subject_first = _ORDERS[predicate.lower()]
        edges[order].add((subject, object_) if subject_first else (object_, subject))
    return any(_peeled(ones) for ones in edges.values())


def _peeled(edges: set[tuple[Hashable, Hashable]]) -> set[tuple[Hashable, Hashable]]:
    """The edges that are left when those to items without an edge of their own are taken away, again and again."""
    while True:
        firsts = {first for first, _ in edges}
        left = {edge for edge in edges if edge[1] in firsts}
        if len(left) == len(edges):
            return edges
        edges = left


@dataclass(frozen=True)
class _Edge:
    """A requirement, the item that comes first by it, and the one behind."""

    requirement: Requirement
    first: str
    behind: str


def _circle(edges: Sequence[_Edge]) -> list[_Edge]:
    """The shortest circle, in order; empty where there is none."""
    circles = [[edge, *path] for edge in edges if (path := _path(edges, edge.behind, edge.first)) is not None]
    return min(circles, key=len, default=[])


def _path(edges: Iterable[_Edge], start: str, goal: str) -> list[_Edge] | None:
    """The shortest way from one item to another along the order."""
    ways: dict[str, list[_Edge]] = {start: []}
    frontier = [start]
    while frontier and goal not in ways:
        reached = []
        for edge in edges:
            if edge.first in frontier and edge.behind not in ways:
                ways[edge.behind] = [*ways[edge.first], edge]
                reached.append(edge.behind)
        frontier = reached
    return ways.get(goal)
