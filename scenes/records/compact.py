"""Many scene graphs in little memory: a few hundred bytes each, and built when they are asked for."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, overload

from scenes.orders import circular, is_order
from scenes.plain_text import plain_text
from scenes.records.from_items import RELATIONS, Kinds, required
from scenes.scene_graph import Item, Relation, SceneGraph, number_repeated_names


class PackedRecord(NamedTuple):
    """A record of which nothing is left to check, in numbers: its items, then its relations, with words by their place
    in the `GraphStore` that packed it."""

    img_id: str
    codes: array[int]
    requirements: int
    contradicts: bool


class _Words(dict[str, int]):
    """The place of each word in `seen`, by any of its spellings; a new one is added when it is asked for."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.orders: set[int] = set()
        """Places of predicates that order items."""

    def __missing__(self, word: str) -> int:
        if type(word) is not str:
            raise TypeError(word)
        word.encode("utf-8")
        if not (seen := plain_text(word)):
            raise ValueError(word)
        if seen not in self:
            self[seen] = len(self.seen)
            self.seen.append(seen)
            if is_order(seen):
                self.orders.add(self[seen])
        self[word] = self[seen]
        return self[seen]


class GraphStore:
    """Columns that grow by one scene graph at a time.

    Args:
        kinds: what graphs require, see `scenes.records.from_items`.
    """

    def __init__(self, kinds: Kinds = RELATIONS) -> None:
        self.kinds = kinds
        self.img_ids: list[str] = []
        self.relations = array("I")
        """How many of its requirements are relations, for each."""
        self.splits = array("b")
        """The published split of each by its place in SPLITS, or -1."""
        self._codes, self._ends = array("q"), array("Q", [0])
        self._whole: dict[int, SceneGraph] = {}
        self._words = _Words()

    def __len__(self) -> int:
        return len(self.img_ids)

    def packed(self, raw: Any) -> PackedRecord | None:
        """A record of LAION-SG's form in numbers; None where `read_record` has to look at it more closely."""
        place = self._words.__getitem__
        try:
            img_id, items, relations = raw["img_id"], raw["items"], raw["relations"]
            if type(img_id) is int:
                img_id = str(img_id)
            if "requirements" in raw or not (
                img_id.isascii() and img_id.strip() and type(items) is list and type(relations) is list
            ):
                return None
            codes, ids, triples = [len(items)], set[int](), []
            for item in items:
                item_id, attributes = item["item_id"], item["attributes"]
                if type(item_id) is not int or type(attributes) is not list:
                    return None
                ids.add(item_id)
                codes += (item_id, len(attributes), place(item["label"]))
                codes += map(place, attributes)
            for relation in relations:
                subject, object_ = relation["item1"], relation["item2"]
                if type(subject) is not int or type(object_) is not int or subject == object_:
                    return None
                if subject not in ids or object_ not in ids:
                    return None
                triple = (subject, place(relation["relation"]), object_)
                triples.append(triple)
                codes += triple
            column = array("q", codes)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            return None
        if not items or len(ids) != len(items):
            return None
        words, orders = self._words.seen, self._words.orders
        ordering = [(s, words[p], o) for s, p, o in triples if p in orders]
        return PackedRecord(img_id, column, len(set(triples)), len(ordering) > 1 and circular(ordering))

    def add(self, record: PackedRecord | SceneGraph, split: int = -1) -> None:
        """Keep one more; a scene graph is kept as it is."""
        self.img_ids.append(record.img_id)
        self.splits.append(split)
        if isinstance(record, SceneGraph):
            self._whole[len(self._ends) - 1] = record
            self.relations.append(len(record.related))
        else:
            self._codes.extend(record.codes)
            self.relations.append(record.requirements)
        self._ends.append(len(self._codes))

    def graph(self, position: int) -> SceneGraph:
        """The scene graph at a position."""
        if (whole := self._whole.get(position)) is not None:
            return required(whole, self.kinds)
        codes = self._codes[self._ends[position] : self._ends[position + 1]]
        return required(self.unpacked(self.img_ids[position], codes), self.kinds)

    def unpacked(self, img_id: str, codes: Sequence[int]) -> SceneGraph:
        """The scene graph of a packed record, with its relations and nothing else required."""
        words = self._words.seen
        items, place = [], 1
        for _ in range(codes[0]):
            item_id, count, label = codes[place : place + 3]
            attributes = tuple(words[code] for code in codes[place + 3 : place + 3 + count])
            items.append(Item(item_id, words[label], attributes))
            place += 3 + count
        relations = tuple(Relation(codes[k], words[codes[k + 1]], codes[k + 2]) for k in range(place, len(codes), 3))
        return SceneGraph(img_id, number_repeated_names(tuple(items)), relations)


class Graphs(Sequence[SceneGraph]):
    """Scene graphs of a store, by their positions in it; each is built when it is asked for."""

    def __init__(self, store: GraphStore, positions: Sequence[int] | None = None) -> None:
        self.store = store
        self.positions = range(len(store)) if positions is None else positions

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[SceneGraph]:
        return map(self.store.graph, self.positions)

    @overload
    def __getitem__(self, index: int) -> SceneGraph: ...
    @overload
    def __getitem__(self, index: slice) -> Graphs: ...
    def __getitem__(self, index: int | slice) -> SceneGraph | Graphs:
        if isinstance(index, slice):
            return Graphs(self.store, self.positions[index])
        return self.store.graph(self.positions[index])

    def with_relations(self, least: int, most: int) -> Graphs:
        """Those with so many relations, or, where something else is required, none."""
        counts = self.store.relations
        return self.where(place for place in self.positions if not counts[place] or least <= counts[place] <= most)

    def where(self, positions: Iterable[int]) -> Graphs:
        """Those at these positions of the store."""
        return Graphs(self.store, array("Q", positions))
