"""How well a picture shows its scene graph: the three IoUs of LAION-SG, and the fraction of requirements satisfied, in
all and by kind.

With A what was asked for and B what an extractor finds in the picture, each IoU is |A ∩ B| / |A ∪ B|, 0 where the union
is empty: of the sets of triples (SG-IoU), of item names (Entity-IoU), and of predicate names (Relation-IoU). Items that
the picture shows without being asked for count in B of Entity-IoU; triples in B are about asked-for pairs only. The
IoUs of triples and predicates are NaN where no relation is asked for, and that of items where no item is.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from math import isnan, nan

from scenes.extractors import Extraction, Triple, observed_triples, satisfied
from scenes.kinds.kinds import KINDS, Kind
from scenes.scene_graph import Requirement, SceneGraph

SCORES = ("sg_iou", "entity_iou", "relation_iou", "satisfied")
Held = Sequence[tuple[Kind, bool]]
"""The kinds of requirements, and whether each holds."""


@dataclass(frozen=True)
class SceneScores:
    """The scores of one picture, each between 0 and 1. `satisfied` is the fraction of requirements that hold, and
    `by_kind` that of each kind, where there are others than relations; else it is empty."""

    sg_iou: float
    entity_iou: float
    relation_iou: float
    satisfied: float
    by_kind: Mapping[Kind, float] = field(default_factory=dict)


@dataclass(frozen=True)
class MeanScores(SceneScores):
    """Means over `n` pictures, or those of them that have the score."""

    n: int = 0


def iou(asked: Set[Hashable], found: Set[Hashable]) -> float:
    """|A ∩ B| / |A ∪ B|, 0 where the union is empty."""
    union = asked | found
    return len(asked & found) / len(union) if union else 0.0


def score(graph: SceneGraph, extraction: Extraction) -> SceneScores:
    """Score a shape-world picture that the exact extractor has read.

    An object that is malformed is not found; one whose name occurs twice is an entity, but in no triple.

    Raises:
        ValueError: a graph that requires nothing, or something that cannot be decided from shape-world pixels.
    """
    others = [(one.kind, satisfied(one, extraction)) for one in graph.requirements if not isinstance(one, Requirement)]
    return score_observed(graph, extraction.names, observed_triples(extraction, graph), others)


def score_observed(
    graph: SceneGraph, names: Iterable[str], triples: Iterable[Triple], others: Held = ()
) -> SceneScores:
    """Score what any extractor found: the names of items, triples between them, and which other requirements hold.

    Raises:
        ValueError: a graph that requires nothing, so that nothing can be satisfied.
    """
    check_requirements(graph)
    found = set(triples)
    asked = {requirement.triple for requirement in graph.related}
    return compare(set(graph.names), asked, set(names), found, {predicate for _, predicate, _ in found}, others)


def compare(
    asked_names: Set[str],
    asked: Set[Triple],
    names: Set[str],
    found: Set[Triple],
    predicates: Set[str],
    others: Held = (),
) -> SceneScores:
    """The scores of what an extractor found (`names` of items, triples, `predicates`) against what was asked for, and
    of the other requirements that it decided. At least one triple was asked for, or one other requirement decided."""
    met = len(asked & found) + sum(holds for _, holds in others)
    return SceneScores(
        sg_iou=iou(asked, found) if asked else nan,
        entity_iou=iou(asked_names, names) if asked_names else nan,
        relation_iou=iou({predicate for _, predicate, _ in asked}, predicates) if asked else nan,
        satisfied=met / (len(asked) + len(others)),
        by_kind=shares_by_kind([*(("relation", triple in found) for triple in asked), *others]) if others else {},
    )


def shares_by_kind(held: Held) -> dict[Kind, float]:
    """The fraction of requirements that hold, of each kind that there is."""
    kinds = [kind for kind in KINDS if any(kind == one for one, _ in held)]
    rows = {kind: [holds for one, holds in held if one == kind] for kind in kinds}
    return {kind: sum(row) / len(row) for kind, row in rows.items()}


def check_requirements(graph: SceneGraph) -> None:
    """Refuse what nothing can be said about.

    Raises:
        ValueError: a graph that requires nothing.
    """
    if not graph.requirements:
        raise ValueError(
            f"record {graph.img_id!r}: field 'relations' is empty, so there is nothing to score; "
            f"drop records without relations, as scenes.laion_sg.load_records does"
        )


def mean_scores(scores: Sequence[SceneScores]) -> MeanScores:
    """The mean of each score over the pictures that have it; NaN where none has.

    Raises:
        ValueError: no scores.
    """
    if not scores:
        raise ValueError("scores: there are none to average; score at least one picture")
    return MeanScores(
        sg_iou=_mean([one.sg_iou for one in scores]),
        entity_iou=_mean([one.entity_iou for one in scores]),
        relation_iou=_mean([one.relation_iou for one in scores]),
        satisfied=_mean([one.satisfied for one in scores]),
        by_kind={kind: _mean(row) for kind in KINDS if (row := [s.by_kind[kind] for s in scores if kind in s.by_kind])},
        n=len(scores),
    )


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not isnan(value)]
    return sum(known) / len(known) if known else nan
