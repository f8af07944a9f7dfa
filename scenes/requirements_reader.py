"""Reads a prompt, as triples or as plain sentences, into a scene graph, or says which of its words it cannot read."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace

from scenes.kinds.kinds import FreeQuestion, Other
from scenes.orders import contradictions
from scenes.plain_text import plain_text
from scenes.scene_graph import AnyRequirement, Item, Relation, Requirement, SceneGraph
from scenes.wording.phrasing import (
    ARTICLE,
    JOINS,
    LEAD_IN,
    NEGATIONS,
    PHRASES,
    PRONOUNS,
    SENTENCES,
    plain_lines,
    unwrapped,
)

EXAMPLE = "red circle left of blue square; green star above red circle"
_CLAUSES = re.compile(r",?\s+(?:and|while|but|with)\s+|,\s*")
_BEFORE_RELATION = re.compile(
    r"(?:\s+(?:is|are|be|should be|must be|sits|stands|lies|hangs|floats|located|placed|positioned|directly|just))+$"
)
_MAX_WORDS = 6


class NotUnderstood(ValueError):
    """A prompt with words that are no requirement. `understood` are the requirements that could be read, and
    `not_understood` the other words, each with the reason.

    Args:
        example: of what can be read.
        field: what the words stand in.
    """

    def __init__(
        self,
        understood: Sequence[AnyRequirement],
        not_understood: Sequence[tuple[str, str]],
        example: str = EXAMPLE,
        field: str = "prompt",
    ) -> None:
        self.understood, self.not_understood, self.field = tuple(understood), tuple(not_understood), field
        known = "; ".join(one.text for one in understood) or "nothing"
        unknown = "; ".join(f"{text!r} ({reason})" for text, reason in not_understood)
        super().__init__(f"{field}: understood: {known}. Not understood: {unknown}. Write for example {example!r}")


class Impossible(ValueError):
    """Requirements that cannot hold together; the message names them. `field` is what they were given in."""

    def __init__(self, circles: Sequence[str], field: str = "prompt") -> None:
        self.field = field
        super().__init__(f"{field}: " + "; and ".join(circles))


def read_requirements(text: str, predicates: Sequence[str], img_id: str = "prompt") -> SceneGraph:
    """The scene graph that a prompt asks for. Case, invisible characters and Markdown do not matter; items with the
    same name are one item.

    Triples (`red circle left of blue square; green star above red circle`) and plain sentences (`A red circle is to the
    left of a blue square, and a green star is above the red circle.`) are read alike. Nothing is guessed or left out:
    a prompt with one word that is neither is refused.

    Args:
        predicates: the relations that a requirement may use.

    Raises:
        NotUnderstood: a part is no requirement.
        Impossible: the requirements cannot hold together.
    """
    phrases = _phrases(predicates)
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(phrases, key=len, reverse=True)))})\b")
    found: list[Requirement] = []
    unread: list[tuple[str, str]] = []
    for clause in _clauses(text, pattern):
        try:
            found.append(_requirement(clause, pattern, phrases))
        except ValueError as error:
            unread.append((clause, str(error)))
    if not found and not unread:
        unread.append(("", "it is empty"))
    if unread:
        raise NotUnderstood(found, unread)
    return graph_of(found, img_id)


def read_parts(parts: Sequence[tuple[str, str, str] | str], predicates: Sequence[str]) -> SceneGraph:
    """The scene graph of requirements that are given one by one: subject, relation and object apart, or as a text.
    Words are read as in a prompt. Raises as `read_requirements`, about `requirements`.
    """
    phrases = _phrases(predicates)
    found: list[Requirement] = []
    unread: list[tuple[str, str]] = []
    for part in parts:
        try:
            if isinstance(part, str):
                found += read_requirements(part, predicates).related
                continue
            subject, relation, object_ = (_small(words) for words in part)
            if relation not in phrases:
                raise ValueError(f"{relation!r} is no relation of the models; they are {', '.join(predicates)}")
            names = _name(subject, "before", relation), _name(object_, "after", relation)
            found.append(_related(names[0], phrases[relation], names[1]))
        except NotUnderstood as error:
            unread += error.not_understood
        except ValueError as error:
            unread.append((part if isinstance(part, str) else " ".join(map(_small, part)), str(error)))
    if unread:
        raise NotUnderstood(found, unread, field="requirements")
    return graph_of(found, field="requirements")


def graph_of(
    requirements: Sequence[AnyRequirement],
    img_id: str = "prompt",
    field: str = "prompt",
    meanings: Mapping[str, str] | None = None,
) -> SceneGraph:
    """The scene graph of requirements. The last word of a name is its item's label, the words before it are its
    attributes. Names that differ in case alone are one item, which is called as it was first; so it is with relations.

    Args:
        field: what they were given in.
        meanings: see `contradictions`.

    Raises:
        Impossible: they cannot hold together.
    """
    items: dict[str, Item] = {}
    for name in (name for one in requirements for name in one.items):
        *attributes, label = name.split()
        items.setdefault(name.lower(), Item(len(items), label, tuple(attributes)))
    predicates: dict[str, str] = {}
    relations: list[Relation] = []
    others: dict[str, Other] = {}
    for one in requirements:
        if isinstance(one, Requirement):
            predicate = predicates.setdefault(one.predicate.lower(), one.predicate)
            subject, object_ = (items[name.lower()].item_id for name in one.items)
            relations.append(Relation(subject, predicate, object_))
        else:
            named = one if isinstance(one, FreeQuestion) else replace(one, item=items[one.item.lower()].name)
            others.setdefault(named.text.lower(), named)
    graph = SceneGraph(img_id, tuple(items.values()), tuple(relations), tuple(others.values()))
    if impossible := contradictions(graph, meanings):
        raise Impossible(impossible, field)
    return graph


def _phrases(predicates: Sequence[str]) -> dict[str, str]:
    """The predicate that each phrase means."""
    phrases = {other: name for name, others in PHRASES.items() if name in predicates for other in others}
    return phrases | {predicate.lower(): predicate for predicate in predicates}


def _small(text: str) -> str:
    return plain_text(plain_text(text).lower())


def _clauses(text: str, pattern: re.Pattern[str]) -> list[str]:
    """The parts that should hold one requirement each. A sentence is cut at its `and` and commas only where it has more
    than one relation: they may stand inside a name."""
    clauses = []
    for sentence in SENTENCES.split(plain_lines("\n".join(_small(line) for line in text.splitlines()))):
        sentence = " ".join(sentence.replace('"', " ").split())
        if len(pattern.findall(sentence)) > 1:
            clauses += _CLAUSES.split(sentence)
        else:
            clauses.append(sentence)
    return [clause for clause in map(unwrapped, clauses) if clause]


def _requirement(clause: str, pattern: re.Pattern[str], phrases: dict[str, str]) -> Requirement:
    """The one requirement of a clause.

    Raises:
        ValueError: why it is none.
    """
    if negations := NEGATIONS & set(clause.split()):
        raise ValueError(f"{min(negations)!r} cannot be required; say what should hold instead")
    relations = list(pattern.finditer(clause))
    if not relations:
        raise ValueError(f"it has no relation; the relations are {', '.join(sorted(set(phrases.values())))}")
    if len(relations) > 1:
        raise ValueError(f"it has {len(relations)} relations; write one requirement for each, with ';' between them")
    relation = relations[0]
    subject = LEAD_IN.sub("", clause[: relation.start()].strip())
    subject = _name(_BEFORE_RELATION.sub("", subject), "before", relation[0])
    object_ = _name(clause[relation.end() :].strip(), "after", relation[0])
    return _related(subject, phrases[relation[0]], object_)


def _related(subject: str, predicate: str, object_: str) -> Requirement:
    if subject == object_:
        raise ValueError(f"it relates {subject!r} to itself; name two items")
    return Requirement(subject, predicate, object_)


def _name(words: str, where: str, relation: str) -> str:
    """The name of an item, without its article.

    Raises:
        ValueError: the words do not name one item.
    """
    name = ARTICLE.sub("", words)
    if not name or name in JOINS:
        raise ValueError(f"no item is named {where} {relation!r}")
    parts = name.split()
    if pronouns := PRONOUNS & set(parts):
        raise ValueError(f"what {min(pronouns)!r} stands for is not known; name the item")
    if joins := JOINS & set(parts):
        raise ValueError(
            f"{name!r} does not name one item because of {min(joins)!r}; write one requirement for each item"
        )
    if not all(one in " '’-_" or unicodedata.category(one)[0] in "LMN" for one in name):
        raise ValueError(f"{name!r} is no name; use letters, digits and hyphens")
    if len(parts) > _MAX_WORDS:
        raise ValueError(f"{name!r} has {len(parts)} words; a name has at most {_MAX_WORDS}")
    return name
