"""What is required of the picture of a record: its relations, and what its items say by themselves.

From the items `red apple`, `red apple` and `wooden table` follow: presence, `a wooden table`; count, `two red apples`
(without it, presence: `a red apple`); attribute, `table is wooden`. A label that several items have is left out there,
as nothing would say which of them is meant.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Literal

from scenes.kinds.kinds import MOST_COUNTED, Attribute, Count, Other, Presence
from scenes.scene_graph import Item, SceneGraph

RecordKind = Literal["relations", "presence", "count", "attribute"]
Kinds = tuple[RecordKind, ...]
RELATIONS: Kinds = ("relations",)


def required(graph: SceneGraph, kinds: Kinds) -> SceneGraph:
    """A graph with the requirements of these kinds. Those that are no relations and are written in the record itself
    stay in any case, and what follows from items comes after them."""
    if kinds == RELATIONS:
        return graph
    relations = graph.relations if "relations" in kinds else ()
    others = tuple(dict.fromkeys((*graph.others, *_from_items(graph.items, kinds))))
    return replace(graph, relations=relations, others=others)


def _from_items(items: tuple[Item, ...], kinds: Kinds) -> list[Other]:
    names = Counter(replace(item, number=None).name for item in items)
    labels = Counter(item.label for item in items)
    counted = {name for name, times in names.items() if 1 < times <= MOST_COUNTED} if "count" in kinds else set()
    found: list[Other] = [Count(name, names[name]) for name in names if name in counted]
    if "presence" in kinds:
        found += [Presence(name) for name in names if name not in counted]
    if "attribute" in kinds:
        found += [Attribute(item.label, one) for item in items if labels[item.label] == 1 for one in item.attributes]
    return found
