"""Scene graphs: the items that a picture should show, the relations that should hold between them, and what else is
required."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

from scenes.kinds.kinds import FreeQuestion, Kind, Other
from scenes.kinds.records import record_of


@dataclass(frozen=True)
class Item:
    """One item of a scene graph, for example `red circle`.

    `name` is what prompts, requirements and metrics call it. Where two items of one graph would read the same, the
    graph numbers them (`white cat 1`, `white cat 2`), so that a requirement always refers to exactly one item.
    """

    item_id: int
    label: str
    attributes: tuple[str, ...] = ()
    number: int | None = None

    @property
    def name(self) -> str:
        words = [*self.attributes, self.label]
        if self.number is not None:
            words.append(str(self.number))
        return " ".join(words)


@dataclass(frozen=True)
class Relation:
    """A relation between two items, which it refers to by `item_id`."""

    subject: int
    predicate: str
    object: int


@dataclass(frozen=True)
class Requirement:
    """One triple of a scene graph, with the attributes of both items in their names."""

    subject: str
    predicate: str
    object: str
    kind: ClassVar[Kind] = "relation"

    @property
    def text(self) -> str:
        return f"{self.subject} {self.predicate} {self.object}"

    @property
    def statement(self) -> str:
        """What is true of a picture in which it holds."""
        return self.text

    @property
    def items(self) -> tuple[str, ...]:
        """The names of what it is about."""
        return (self.subject, self.object)

    @property
    def terms(self) -> tuple[str, ...]:
        """Its other words."""
        return (self.predicate,)

    @property
    def triple(self) -> tuple[str, str, str]:
        return (self.subject, self.predicate, self.object)


AnyRequirement = Requirement | Other
"""What a picture may be required to show; `kind` tells which it is."""


class UnusableGraph(ValueError):
    """A scene graph that asks for nothing that could be drawn. `reason` says why without names, to count by."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class SceneGraph:
    """What one picture should show. `others` are requirements that are no relations; the items that they name need not
    be among `items`.

    Raises:
        UnusableGraph: neither items nor others, an `item_id` used twice, a relation that refers to an item that is not
            there, or one of an item to itself.
    """

    img_id: str
    items: tuple[Item, ...]
    relations: tuple[Relation, ...]
    others: tuple[Other, ...] = ()

    def __post_init__(self) -> None:
        if not self.items and not self.others:
            raise UnusableGraph(
                "no items",
                f"record {self.img_id!r}: field 'items' is empty; a scene graph needs at least one item",
            )
        ids = [item.item_id for item in self.items]
        repeated = sorted(item_id for item_id, count in Counter(ids).items() if count > 1)
        if repeated:
            raise UnusableGraph(
                "two items with the same item_id",
                f"record {self.img_id!r}: field 'items' uses item_id {repeated[0]} twice; give each its own",
            )
        for index, relation in enumerate(self.relations):
            for field, item_id in (("item1", relation.subject), ("item2", relation.object)):
                if item_id not in ids:
                    raise UnusableGraph(
                        "a relation of an item that is not there",
                        f"record {self.img_id!r}: field 'relations[{index}].{field}' is {item_id!r}, which is not an "
                        f"item_id of this record; the item_ids are {ids}",
                    )
            if relation.subject == relation.object:
                raise UnusableGraph(
                    "a relation of an item to itself",
                    f"record {self.img_id!r}: 'relations[{index}]' relates item {relation.subject!r} to itself",
                )

    def item(self, item_id: int) -> Item:
        """The item with this `item_id`."""
        return next(item for item in self.items if item.item_id == item_id)

    @property
    def requirements(self) -> tuple[AnyRequirement, ...]:
        """All that is required, each once: `related`, then `others`."""
        return (*self.related, *dict.fromkeys(self.others)) if self.others else self.related

    @property
    def related(self) -> tuple[Requirement, ...]:
        """One requirement for each relation, in the order of the record; a triple that occurs twice counts once."""
        triples = [
            Requirement(self.item(r.subject).name, r.predicate, self.item(r.object).name) for r in self.relations
        ]
        return tuple(dict.fromkeys(triples))

    @property
    def prompt(self) -> str:
        """The prompt as LAION-SG builds it: triples with attributes, joined by `; `; other requirements follow."""
        return "; ".join(requirement.text for requirement in self.requirements)

    @property
    def drawing(self) -> str:
        """What the Diffuser is told: the prompt, in which a question is told without its mark."""
        return "; ".join(one.question if isinstance(one, FreeQuestion) else one.text for one in self.requirements)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all items."""
        return tuple(item.name for item in self.items)

    def record(self) -> dict[str, Any]:
        """This graph in LAION-SG's form (the `global_…` ids are positions, as no global vocabulary is kept). Other
        requirements than relations are listed under `requirements`, where there are any."""
        others = {"requirements": [record_of(one) for one in self.others]} if self.others else {}
        return {
            "img_id": self.img_id,
            "name": f"{self.img_id}.png",
            "caption_ori": self.prompt,
            "score": "",
            "url": "",
            "items": [
                {"item_id": i.item_id, "label": i.label, "attributes": list(i.attributes), "global_item_id": k}
                for k, i in enumerate(self.items)
            ],
            "relations": [
                {
                    "triple_id": k,
                    "item1": r.subject,
                    "relation": r.predicate,
                    "item2": r.object,
                    "global_relation_id": k,
                }
                for k, r in enumerate(self.relations)
            ],
            **others,
        }


def number_repeated_names(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """Tell items that read the same apart by a number, counted from 1 in the order of the record."""
    totals = Counter(item.name for item in items)
    seen: Counter[str] = Counter()
    numbered = []
    for item in items:
        number = None
        if totals[item.name] > 1:
            number = seen[item.name] + 1
            while f"{item.name} {number}" in totals:  # an item that is called so already keeps its name
                number += 1
            seen[item.name] = number
        numbered.append(Item(item.item_id, item.label, item.attributes, number))
    return tuple(numbered)


def parse_prompt(text: str, predicates: tuple[str, ...], img_id: str = "prompt") -> SceneGraph:
    """Read a prompt of the form `red circle left of blue square; green star above red circle`.

    The last word of a name is its label, the words before it are its attributes.

    Raises:
        ValueError: no triple, or a part in which none of `predicates` stands between two names.
    """
    parts = [part.strip() for part in text.split(";") if part.strip()]
    if not parts:
        raise ValueError("prompt: it is empty; write for example 'red circle left of blue square'")
    names: dict[str, Item] = {}
    relations = []
    for part in parts:
        predicate = next((p for p in predicates if f" {p} " in f" {part} "), None)
        if predicate is None:
            raise ValueError(f"prompt: {part!r} contains no relation; the relations are {', '.join(predicates)}")
        subject, _, object_ = (side.strip() for side in f" {part} ".partition(f" {predicate} "))
        if not subject or not object_:
            raise ValueError(f"prompt: {part!r} needs an object on both sides of {predicate!r}")
        for name in (subject, object_):
            if name not in names:
                *attributes, label = name.split()
                names[name] = Item(len(names), label, tuple(attributes))
        relations.append(Relation(names[subject].item_id, predicate, names[object_].item_id))
    return SceneGraph(img_id, tuple(names.values()), tuple(relations))
