"""Reads a prompt, as triples or as plain sentences, into a scene graph, or says which of its words it cannot read."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from scenes.orders import contradictions
from scenes.plain_text import plain_text
from scenes.scene_graph import Item, Relation, Requirement, SceneGraph

EXAMPLE = "red circle left of blue square; green star above red circle"
_PHRASES = {
    "left of": ("to the left of", "on the left of", "at the left of", "on the left side of", "left from"),
    "right of": ("to the right of", "on the right of", "at the right of", "on the right side of", "right from"),
    "above": ("over",),
    "below": ("under", "underneath", "beneath"),
}
_LIST_MARK = re.compile(r"(?:(?:[-*+•‣◦–—>#]+|\d{1,3}[.)]|\[[ x]?\])\s+)+")
_EMPHASIS = re.compile(r"(\*\*|\*|__|`)(?=\S)(.+?)(?<=\S)\1")
_QUOTES = str.maketrans("“”„«»", '"' * 5)
_SENTENCES = re.compile(r"[;\n]+|[.!?]+(?=\s|$)")
_CLAUSES = re.compile(r",?\s+(?:and|while|but|with)\s+|,\s*")
_LEAD_IN = re.compile(
    r"^(?:(?:please|kindly|(?:can|could|would) you|i (?:want|would like|need)|i['’]d like|to see|draw|paint|show|make"
    r"|create|generate|render|me|the following|as follows|there (?:is|are|should be|must be)|and|with"
    r"|(?:a |an |the )?(?:picture|image|photo|photograph|drawing|painting|scene) "
    r"(?:of|with|showing|where|in which))[,:]?\s+)+"
)
_LEAD_OUT = re.compile(r"(?:,?\s+(?:please|thanks|thank you))+$")
_ARTICLE = re.compile(r"^(?:a|an|the|some)\s+")
_BEFORE_RELATION = re.compile(
    r"(?:\s+(?:is|are|be|should be|must be|sits|stands|lies|hangs|floats|located|placed|positioned|directly|just))+$"
)
_NEGATIONS = frozenset({"not", "no", "never", "without", "neither", "nor", "isn't", "isn’t", "aren't", "aren’t"})
_PRONOUNS = frozenset({"it", "they", "them", "this", "that", "these", "those", "which", "who", "he", "she", "both"})
_JOINS = frozenset({"a", "an", "the", "and", "or", "is", "are", "of", "some"})
_MAX_WORDS = 6


class NotUnderstood(ValueError):
    """A prompt with words that are no requirement. `understood` are the requirements that could be read, and
    `not_understood` the other words, each with the reason."""

    def __init__(self, understood: Sequence[Requirement], not_understood: Sequence[tuple[str, str]]) -> None:
        self.understood, self.not_understood = tuple(understood), tuple(not_understood)
        known = "; ".join(one.text for one in understood) or "nothing"
        unknown = "; ".join(f"{text!r} ({reason})" for text, reason in not_understood)
        super().__init__(f"prompt: understood: {known}. Not understood: {unknown}. Write for example '{EXAMPLE}'")


class Impossible(ValueError):
    """A prompt whose requirements cannot hold together; the message names them."""


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
    graph = _graph(found, img_id)
    if impossible := contradictions(graph):
        raise Impossible("prompt: " + "; and ".join(impossible))
    return graph


def _phrases(predicates: Sequence[str]) -> dict[str, str]:
    """The predicate that each phrase means."""
    phrases = {other: name for name, others in _PHRASES.items() if name in predicates for other in others}
    return phrases | {predicate.lower(): predicate for predicate in predicates}


def _clauses(text: str, pattern: re.Pattern[str]) -> list[str]:
    """The parts that should hold one requirement each. A sentence is cut at its `and` and commas only where it has more
    than one relation: they may stand inside a name."""
    clauses = []
    for sentence in _SENTENCES.split(_plain_lines(text)):
        sentence = " ".join(sentence.replace('"', " ").split())
        if len(pattern.findall(sentence)) > 1:
            clauses += _CLAUSES.split(sentence)
        else:
            clauses.append(sentence)
    clauses = [_LEAD_OUT.sub("", f" {clause.strip(' ,:')}").strip() for clause in clauses]
    return [clause for clause in clauses if _LEAD_IN.sub("", f"{clause} ").strip(" ,:")]


def _plain_lines(text: str) -> str:
    """The lines of a text in small letters, without marks of lists and emphasis."""
    lines = []
    for line in text.splitlines():
        line = plain_text(plain_text(line).lower()).translate(_QUOTES)
        lines.append(_EMPHASIS.sub(r"\2", _LIST_MARK.sub("", line, count=1) if _LIST_MARK.match(line) else line))
    return "\n".join(lines)


def _requirement(clause: str, pattern: re.Pattern[str], phrases: dict[str, str]) -> Requirement:
    """The one requirement of a clause.

    Raises:
        ValueError: why it is none.
    """
    if negations := _NEGATIONS & set(clause.split()):
        raise ValueError(f"{min(negations)!r} cannot be required; say what should hold instead")
    relations = list(pattern.finditer(clause))
    if not relations:
        raise ValueError(f"it has no relation; the relations are {', '.join(sorted(set(phrases.values())))}")
    if len(relations) > 1:
        raise ValueError(f"it has {len(relations)} relations; write one requirement for each, with ';' between them")
    relation = relations[0]
    subject = _LEAD_IN.sub("", clause[: relation.start()].strip())
    subject = _name(_BEFORE_RELATION.sub("", subject), "before", relation[0])
    object_ = _name(clause[relation.end() :].strip(), "after", relation[0])
    if subject == object_:
        raise ValueError(f"it relates {subject!r} to itself; name two items")
    return Requirement(subject, phrases[relation[0]], object_)


def _name(words: str, where: str, relation: str) -> str:
    """The name of an item, without its article.

    Raises:
        ValueError: the words do not name one item.
    """
    name = _ARTICLE.sub("", words)
    if not name or name in _JOINS:
        raise ValueError(f"no item is named {where} {relation!r}")
    parts = name.split()
    if pronouns := _PRONOUNS & set(parts):
        raise ValueError(f"what {min(pronouns)!r} stands for is not known; name the item")
    if joins := _JOINS & set(parts):
        raise ValueError(
            f"{name!r} does not name one item because of {min(joins)!r}; write one requirement for each item"
        )
    if not all(one in " '’-_" or unicodedata.category(one)[0] in "LMN" for one in name):
        raise ValueError(f"{name!r} is no name; use letters, digits and hyphens")
    if len(parts) > _MAX_WORDS:
        raise ValueError(f"{name!r} has {len(parts)} words; a name has at most {_MAX_WORDS}")
    return name


def _graph(requirements: Sequence[Requirement], img_id: str) -> SceneGraph:
    """The last word of a name is its item's label, the words before it are its attributes."""
    items: dict[str, Item] = {}
    for name in (name for one in requirements for name in (one.subject, one.object)):
        *attributes, label = name.split()
        items.setdefault(name, Item(len(items), label, tuple(attributes)))
    relations = (Relation(items[r.subject].item_id, r.predicate, items[r.object].item_id) for r in requirements)
    return SceneGraph(img_id, tuple(items.values()), tuple(relations))
