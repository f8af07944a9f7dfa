"""From a detector's boxes to what a picture shows of a scene graph: items, and which requirements hold.

The detector is asked for each item without its colour and number (`wooden table` for `brown wooden table 2`). Colours
are read from the pixels. As in GenEval, the surest detection that fits stands for the item. Where several items of a
graph differ by their numbers only, nothing tells which detection is which: each of them is found once there are enough
detections, but their requirements cannot be decided. Nor can those whose predicate no box decides, such as `holding`.

Of other requirements, presence and counts are decided by the detections that have all colours of the item, counts only
up to what a detector is kept to find; attributes where they are colours, by the surest detection; questions never.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from scenes.detected.boxes import MOST_DETECTIONS, Detection, distinct
from scenes.detected.colours import colours_in, plain_colour
from scenes.detected.relations import Rule, plain_predicate, relations
from scenes.extractors import Triple
from scenes.kinds.kinds import Attribute, Count, FreeQuestion, Other, Presence
from scenes.scene_graph import AnyRequirement, Item, Requirement, SceneGraph

Find = Callable[[Sequence[np.ndarray], Sequence[Sequence[str]]], list[list[Detection]]]
"""A detector: images, and the phrases to look for in each; what is found in each, see `rewards.detection.detector`."""


@dataclass(frozen=True)
class Finding:
    """What was found of one item.

    Attributes:
        detection: what stands for it; None where it was not found, or is one of several that look alike.
        count: detections with all of its colours.
        problem: why there is no detection; empty where there is one.
        there: whether the picture shows it.
    """

    detection: Detection | None
    count: int
    problem: str
    there: bool


@dataclass(frozen=True)
class Verdict:
    """What boxes say of a requirement.

    Attributes:
        holds: None where they cannot say.
        confidence: the least score that it rests on, of its two items or of what is counted; 0 where one is missing.
        reason: why it does not hold, or cannot be decided; empty where it holds.
        shown: the relation in which the items stand, in the word that was asked for where it holds; None for none.
    """

    requirement: AnyRequirement
    holds: bool | None
    confidence: float
    reason: str
    shown: str | None


@dataclass(frozen=True)
class Reading:
    """What a picture shows of a scene graph: findings by the name of the item, and a verdict on each requirement."""

    findings: Mapping[str, Finding]
    verdicts: tuple[Verdict, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The items that the picture shows."""
        return tuple(name for name, found in self.findings.items() if found.there)

    @property
    def triples(self) -> set[Triple]:
        """For each requirement with both items, the relation in which these stand, as the exact extractor gives it."""
        related = [(v.requirement, v.shown) for v in self.verdicts if isinstance(v.requirement, Requirement)]
        return {(one.subject, shown, one.object) for one, shown in related if shown is not None}

    @property
    def satisfied(self) -> float | None:
        """The fraction of requirements that hold among those that could be decided; None where there is none."""
        decided = [verdict.holds for verdict in self.verdicts if verdict.holds is not None]
        return sum(decided) / len(decided) if decided else None


def phrase_of(item: Item) -> str:
    """What a detector is asked for an item: its words without colours and number, in small letters. An item whose words
    are all colours keeps its label."""
    words = [word for attribute in item.attributes for word in attribute.split()]
    kept = [word for word in words if plain_colour(word) is None]
    while kept and kept[0].casefold() == "and":  # of `black and white cat`
        kept = kept[1:]
    return " ".join([*kept, item.label]).casefold()


def phrases_of(graph: SceneGraph) -> list[str]:
    """What a detector is asked for a graph, each phrase once."""
    named = [named_item(graph, name) for one in graph.others for name in one.items]
    return list(dict.fromkeys(phrase_of(item) for item in (*graph.items, *named)))


def named_item(graph: SceneGraph, name: str) -> Item:
    """The item that a requirement names: one of the graph, by its name or label, or else one of these words."""
    for item in graph.items:
        plain = replace(item, number=None)
        if plain.name == name:
            return plain
        if item.label == name:
            return Item(item.item_id, item.label)
    *attributes, label = name.split()
    return Item(-1, label, tuple(attributes))


def decidable(graph: SceneGraph) -> tuple[AnyRequirement, ...]:
    """The relations whose predicate boxes decide, between items that are told apart by more than a number, and the
    other requirements that they decide."""
    numbered = {item.name for item in graph.items if item.number is not None}
    return tuple(
        one
        for one in graph.requirements
        if (
            plain_predicate(one.predicate) is not None and not {one.subject, one.object} & numbered
            if isinstance(one, Requirement)
            else _decides(one)
        )
    )


def _decides(one: Other) -> bool:
    if isinstance(one, Attribute):
        return bool(_colours_in_words(one.attribute.split())) and not _other_words(one.attribute)
    return one.number < MOST_DETECTIONS if isinstance(one, Count) else isinstance(one, Presence)


def fitting(item: Item, image: np.ndarray, detections: Iterable[Detection]) -> list[Detection]:
    """The detections, of `phrase_of(item)`, that have all colours of an item; the surest first.

    Args:
        image: uint8 (H, W, 3), which the boxes lie in.
    """
    asked = _colours_of(item)
    return [one for one in detections if one.phrase == phrase_of(item) and asked <= colours_in(image, one.box)]


def read(graph: SceneGraph, image: np.ndarray, detections: Iterable[Detection], rule: Rule = "geneval") -> Reading:
    """What a picture shows of a graph.

    Args:
        image: uint8 (H, W, 3).
        detections: those of `phrases_of(graph)` in this image, boxes in its pixels; double ones are left out here.
        rule: how boxes become relations.
    """
    kept = distinct(detections)
    findings = {item.name: _find(item, graph.items, image, kept) for item in graph.items}
    decided = set(decidable(graph))
    verdicts = [_judge(one, findings, one in decided, rule) for one in graph.related]
    for other in graph.requirements[len(verdicts) :]:
        if isinstance(other, Requirement) or other not in decided:
            verdicts.append(Verdict(other, None, 0.0, f"boxes cannot decide {other.text!r}", None))
        elif not isinstance(other, FreeQuestion):
            verdicts.append(_judge_other(other, named_item(graph, other.item), image, kept))
    return Reading(findings, tuple(verdicts))


def _judge_other(
    one: Presence | Count | Attribute, item: Item, image: np.ndarray, detections: Sequence[Detection]
) -> Verdict:
    fit = fitting(item, image, detections)
    if isinstance(one, Count):
        holds, least = len(fit) == one.number, min((found.score for found in fit), default=0.0)
        return Verdict(one, holds, least, "" if holds else f"{phrase_of(item)}: {len(fit)} found", None)
    if not fit:
        return Verdict(one, False, 0.0, _find(item, [item], image, detections).problem, None)
    if isinstance(one, Presence):
        return Verdict(one, True, fit[0].score, "", None)
    seen = colours_in(image, fit[0].box)
    holds = _colours_in_words(one.attribute.split()) <= seen
    reason = f"{one.item} is {' and '.join(sorted(seen)) or 'of no one colour'}"
    return Verdict(one, holds, fit[0].score, "" if holds else reason, None)


def _find(item: Item, items: Sequence[Item], image: np.ndarray, detections: Sequence[Detection]) -> Finding:
    phrase = phrase_of(item)
    seen = [one for one in detections if one.phrase == phrase]
    if not seen:
        return Finding(None, 0, f"no {phrase} was found", False)
    fit = fitting(item, image, seen)
    if not fit:
        colours = " and ".join(sorted(_colours_of(item)))
        return Finding(None, 0, f"of {len(seen)} {phrase}, none is {colours}", False)
    if item.number is not None:
        alike = [one for one in items if (one.label, one.attributes) == (item.label, item.attributes)]
        enough = len(fit) >= len(alike)
        problem = f"{len(fit)} of {len(alike)} were found" + (", which is which is not known" if enough else "")
        return Finding(None, len(fit), problem, enough)
    return Finding(fit[0], len(fit), "", True)


def _colours_of(item: Item) -> set[str]:
    return _colours_in_words([word for attribute in item.attributes for word in attribute.split()])


def _colours_in_words(words: Iterable[str]) -> set[str]:
    return {colour for word in words if (colour := plain_colour(word)) is not None}


def _other_words(attribute: str) -> list[str]:
    return [word for word in attribute.split() if plain_colour(word) is None and word.casefold() != "and"]


def _judge(one: Requirement, findings: Mapping[str, Finding], decided: bool, rule: Rule) -> Verdict:
    subject, object_ = findings[one.subject], findings[one.object]
    if not decided:
        return Verdict(one, None, 0.0, f"boxes cannot decide {one.text!r}", None)
    if subject.detection is None or object_.detection is None:
        missing = [name for name in (one.subject, one.object) if findings[name].detection is None]
        return Verdict(one, False, 0.0, "; ".join(f"{name}: {findings[name].problem}" for name in missing), None)
    confidence = min(subject.detection.score, object_.detection.score)
    found = relations(subject.detection.box, object_.detection.box, rule)
    if plain_predicate(one.predicate) in found:
        return Verdict(one, True, confidence, "", one.predicate)
    reason = f"{one.subject} is {' and '.join(found)} {one.object}" if found else "they are at the same place"
    return Verdict(one, False, confidence, reason, found[0] if found else None)
