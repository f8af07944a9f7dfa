"""How well a picture shows its scene graph: the three IoUs of LAION-SG, and the fraction of requirements satisfied.

With A what was asked for and B what an extractor finds in the picture, each IoU is |A ∩ B| / |A ∪ B|, 0 where the union
is empty: of the sets of triples (SG-IoU), of item names (Entity-IoU), and of predicate names (Relation-IoU). Items that
the picture shows without being asked for count in B of Entity-IoU; triples in B are about asked-for pairs only.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence, Set
from dataclasses import asdict, dataclass

from scenes.extractors import Extraction, Triple, observed_triples
from scenes.scene_graph import SceneGraph


@dataclass(frozen=True)
class SceneScores:
    """The scores of one picture, each between 0 and 1. `satisfied` is the fraction of requirements that hold."""

    sg_iou: float
    entity_iou: float
    relation_iou: float
    satisfied: float


@dataclass(frozen=True)
class MeanScores(SceneScores):
    """Means over `n` pictures."""

    n: int


def iou(asked: Set[Hashable], found: Set[Hashable]) -> float:
    """|A ∩ B| / |A ∪ B|, 0 where the union is empty."""
    union = asked | found
    return len(asked & found) / len(union) if union else 0.0


def score(graph: SceneGraph, extraction: Extraction) -> SceneScores:
    """Score a shape-world picture that the exact extractor has read.

    An object that is malformed is not found; one whose name occurs twice is an entity, but in no triple.

    Raises:
        ValueError: a graph without relations, or a predicate that the shape world does not define.
    """
    return score_observed(graph, extraction.names, observed_triples(extraction, graph))


def score_observed(graph: SceneGraph, names: Iterable[str], triples: Iterable[Triple]) -> SceneScores:
    """Score what any extractor found: the names of items, and triples between them.

    Raises:
        ValueError: a graph without relations, for which nothing can be satisfied.
    """
    check_relations(graph)
    found = set(triples)
    asked = {requirement.triple for requirement in graph.requirements}
    return compare(set(graph.names), asked, set(names), found, {predicate for _, predicate, _ in found})


def compare(
    asked_names: Set[str], asked: Set[Triple], names: Set[str], found: Set[Triple], predicates: Set[str]
) -> SceneScores:
    """The scores of what an extractor found (`names` of items, triples, `predicates`) against what was asked for."""
    return SceneScores(
        sg_iou=iou(asked, found),
        entity_iou=iou(asked_names, names),
        relation_iou=iou({predicate for _, predicate, _ in asked}, predicates),
        satisfied=len(asked & found) / len(asked),
    )


def check_relations(graph: SceneGraph) -> None:
    """Refuse what nothing can be said about.

    Raises:
        ValueError: a graph without relations.
    """
    if not graph.requirements:
        raise ValueError(
            f"record {graph.img_id!r}: field 'relations' is empty, so there is nothing to score; "
            f"drop records without relations, as scenes.laion_sg.load_records does"
        )


def mean_scores(scores: Sequence[SceneScores]) -> MeanScores:
    """The mean of each score over pictures.

    Raises:
        ValueError: no scores.
    """
    if not scores:
        raise ValueError("scores: there are none to average; score at least one picture")
    rows = [asdict(one) for one in scores]
    fields = SceneScores.__dataclass_fields__
    return MeanScores(**{field: sum(row[field] for row in rows) / len(rows) for field in fields}, n=len(rows))
