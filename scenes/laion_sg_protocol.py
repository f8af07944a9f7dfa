"""LAION-SG's metric with a VLM as extractor: what it is asked, how its answer is read, and the scores.

Protocol (LAION-SG, arXiv 2412.08580): the extractor sees the image, the list of items and the list of relations that
were asked for, not which of them belong together, and returns triples, objects and predicates as JSON. With A what was
asked for and B what came back, SG-IoU, Entity-IoU and Relation-IoU are |A ∩ B| / |A ∪ B| of the triples, the item names
and the predicate names. Everything that came back counts in B, also triples of other pairs and names on no list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scenes.extractors import Triple
from scenes.json_answers import UnreadableAnswer, read_objects
from scenes.scene_graph import SceneGraph
from scenes.scene_graph_iou import Held, SceneScores, check_requirements, compare

FORM = '{"items": ["..."], "relations": ["..."], "triples": [{"item1": "...", "relation": "...", "item2": "..."}]}'

_TRIPLES = ("triples", "triplets", "relationships", "scene_graph", "edges")
_ITEMS = ("items", "objects", "entities", "nodes")
_RELATIONS = ("relations", "predicates")
_PARTS = {  # of a triple that is an object
    "item1": ("item1", "subject", "item_1", "sub", "head", "source"),
    "relation": ("relation", "predicate", "relationship", "rel"),
    "item2": ("item2", "object", "item_2", "obj", "tail", "target"),
}
_NAMES = ("name", "item", "object", "label", "relation", "predicate")


class UnreadableExtraction(UnreadableAnswer):
    """An extractor's answer that is not a scene graph in the asked-for form."""


@dataclass(frozen=True)
class VlmExtraction:
    """What a VLM says that an image shows, all names normalised."""

    items: frozenset[str]
    relations: frozenset[str]
    triples: frozenset[Triple]


def normalise(name: str) -> str:
    """A name without what spelling leaves open: case, underscores, surrounding and repeated white space."""
    return " ".join(name.replace("_", " ").casefold().split())


def extraction_request(graph: SceneGraph) -> str:
    """What the extractor is asked about an image. The lists are sorted, so that their order gives no triple away."""
    items = sorted(set(graph.names))
    relations = sorted({requirement.predicate for requirement in graph.related})
    lines = [
        "Describe this picture as a scene graph, using only the names in these two lists.",
        "",
        "Items: " + ", ".join(f'"{name}"' for name in items),
        "Relations: " + ", ".join(f'"{name}"' for name in relations),
        "",
        'Under "items", list each item that the picture clearly shows, with all of its attributes.',
        'Under "triples", give each relation of the list that clearly holds between two of these items; item1 and '
        'item2 are such that the sentence "item1 relation item2" is true.',
        'Under "relations", list the relations that occur in your triples.',
        "Copy every name exactly as it is written above. Leave out what is not there or what you are not sure of; a "
        "list may be empty. Report what you see, not what the lists lead you to expect.",
    ]
    if any(item.number is not None for item in graph.items):
        lines.append("Items whose names differ only by a number look alike; each number stands for one of them.")
    return "\n".join([*lines, "", f"Answer with one JSON object and nothing else, in this form:\n{FORM}"])


def reminder(problem: str) -> str:
    """What is added to the request after an answer that could not be read."""
    return (
        f"An earlier answer could not be used: {problem}. Write nothing but one complete JSON object, without a code "
        f"fence, an explanation or a comment, with exactly the keys of this form:\n{FORM}"
    )


def parse_extraction(text: str) -> VlmExtraction:
    """Read an extractor's answer.

    Taken are also other usual keys in any case (`objects`, `predicates`, `subject`, …), triples as lists of three, and
    the faults that `scenes.json_answers` repairs. Of several objects the last one that has triples counts. Items and
    predicates that occur only in triples are added to the items and relations.

    Raises:
        UnreadableExtraction: no JSON, no triples or items in it, or an entry of another form. An answer whose lists
            are there and empty is readable: the image shows nothing that was asked for.
    """
    try:
        candidates = [_with_plain_keys(value) for value in read_objects(text)]
    except UnreadableAnswer as error:
        raise UnreadableExtraction(error.problem, text) from error
    inner = [_with_plain_keys(v) for c in candidates for v in c.values() if isinstance(v, Mapping)]
    whole = [found for found in (*inner, *candidates) if _first(found, _TRIPLES) is not None]
    if not whole and (relations := [c for c in candidates if _holds_triples(_first(c, _RELATIONS))]):
        whole = [{**c, "triples": _first(c, _RELATIONS), "relations": []} for c in relations]
    if not whole:
        keys = ", ".join(map(repr, list(candidates[-1])[:6])) or "none"
        raise UnreadableExtraction(f"the key 'triples' is missing, the keys are {keys}", text)
    found = whole[-1]
    triples = frozenset(_triple(entry, text) for entry in _list(_first(found, _TRIPLES), "triples", text))
    items, relations = _first(found, _ITEMS), _first(found, _RELATIONS)
    if items is None:
        raise UnreadableExtraction("the key 'items' is missing", text)
    names = {_name(entry, "items", text) for entry in _list(items, "items", text)}
    predicates = {_name(entry, "relations", text) for entry in _list(relations or [], "relations", text)}
    return VlmExtraction(
        items=frozenset(names | {name for triple in triples for name in (triple[0], triple[2])}),
        relations=frozenset(predicates | {triple[1] for triple in triples}),
        triples=triples,
    )


def score_extraction(graph: SceneGraph, found: VlmExtraction | None, others: Held = ()) -> SceneScores:
    """Score what a VLM extracted; names are compared normalised.

    Args:
        found: None where the graph has no relations, so that the VLM was not asked for them.
        others: which of the other requirements hold.

    Raises:
        ValueError: a graph that requires nothing.
    """
    check_requirements(graph)
    if found is None:
        return compare(set(), set(), set(), set(), set(), others)
    asked = {(normalise(s), normalise(p), normalise(o)) for s, p, o in (r.triple for r in graph.related)}
    names = {normalise(name) for name in graph.names}
    return compare(names, asked, found.items, found.triples, found.relations, others)


def _with_plain_keys(value: Mapping[str, Any]) -> dict[str, Any]:
    return {normalise(str(key)).replace(" ", "_").replace("-", "_"): entry for key, entry in value.items()}


def _first(found: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """The value of the first of `keys` that is there and no object; None where there is none."""
    return next((found[key] for key in keys if found.get(key) is not None and not isinstance(found[key], dict)), None)


def _holds_triples(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and not any(isinstance(entry, str) for entry in value)


def _list(value: Any, key: str, text: str) -> list[Any]:
    if not isinstance(value, list):
        raise UnreadableExtraction(f"{key!r} is {_kind(value)} instead of a list", text)
    return value


def _triple(entry: Any, text: str) -> Triple:
    if isinstance(entry, Mapping):
        plain = _with_plain_keys(entry)
        values = [_first(plain, keys) for keys in _PARTS.values()]
        missing = [part for part, value in zip(_PARTS, values, strict=True) if value is None]
        if missing:
            raise UnreadableExtraction(f"a triple lacks {missing[0]!r}", text)
    elif isinstance(entry, list):
        values = entry
        if len(values) != 3:
            raise UnreadableExtraction(f"a triple has {len(values)} parts instead of 3", text)
    else:
        raise UnreadableExtraction(f"a triple is {_kind(entry)} instead of an object or a list of three", text)
    subject, predicate, object_ = (_text(value, "a part of a triple", text) for value in values)
    return subject, predicate, object_


def _name(entry: Any, key: str, text: str) -> str:
    """The name of an item or relation, which may be wrapped in an object; its attributes stand before its label."""
    if isinstance(entry, Mapping):
        plain = _with_plain_keys(entry)
        attributes = plain.get("attributes") or [] if "name" not in plain else []
        words = [*_list(attributes, "attributes", text), _first(plain, _NAMES)]
        return normalise(" ".join(_text(word, f"an entry of {key!r}", text) for word in words))
    return _text(entry, f"an entry of {key!r}", text)


def _text(value: Any, what: str, text: str) -> str:
    if not isinstance(value, str):
        raise UnreadableExtraction(f"{what} is {_kind(value)} instead of a name", text)
    if not any(character.isalnum() for character in value):  # empty, or the dots of the form
        raise UnreadableExtraction(f"{what} has neither letter nor digit", text)
    return normalise(value)


def _kind(value: Any) -> str:
    if value is None:
        return "missing"
    return {bool: "true or false", str: "text", list: "a list", dict: "an object"}.get(type(value), "a number")
