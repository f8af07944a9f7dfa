"""How much a move helps, on average over the places where it can end: the teacher of the small Actor ranks moves so."""

from __future__ import annotations

from functools import cache

import numpy as np

from scenes.scene_graph import Requirement, SceneGraph
from scenes.shape_world import GAP, INVERSE, MARGIN, SIZE, PlacedObject, extent, offset, outline

DRAWS = 80  # places that `vlm_tasks.execute` tries; a narrow place is not always found
_STEP = 2.0  # pixels between the places that are tried
_AXIS = np.arange(8.0, SIZE - 8.0 + 1e-9, _STEP)
_PLACES = np.stack(np.meshgrid(_AXIS, _AXIS, indexing="ij"), axis=-1).reshape(-1, 2)
Move = tuple[str, str, str]  # subject, predicate, object


def restatements(unmet: tuple[Requirement, ...]) -> list[Move]:
    """Every unmet requirement as a move, from either side: `a left of b` and `b right of a`."""
    return [
        move
        for r in unmet
        for move in ((r.subject, r.predicate, r.object), (r.object, INVERSE[r.predicate], r.subject))
    ]


def mean_gain(move: Move, graph: SceneGraph, objects: tuple[PlacedObject, ...]) -> float:
    """How many requirements more are met when the move is carried out, on average over a grid of free places at which
    its own relation holds; where it cannot be carried out, none are. `objects` are those that the graph names, once
    each."""
    by_name = {o.name: o for o in objects}
    subject, anchor = by_name[move[0]], by_name[move[2]]
    free = np.ones(len(_PLACES), bool)
    for other in objects:
        if other is not subject:
            free &= _apart(subject, other)
    places = _PLACES[free & (_offsets(move[1], anchor) >= MARGIN)]
    if not len(places):
        return 0.0
    gain = np.zeros(len(places))
    for r in graph.requirements:
        if subject.name not in (r.subject, r.object):
            continue
        held = offset(r.predicate, by_name[r.subject], by_name[r.object]) >= MARGIN
        as_subject = r.subject == subject.name
        other = by_name[r.object if as_subject else r.subject]
        predicate = r.predicate if as_subject else INVERSE[r.predicate]
        gain += (_offsets(predicate, other, places) >= MARGIN).astype(float) - held
    found = 1.0 - (1.0 - len(places) / len(_PLACES)) ** DRAWS
    return float(found * gain.mean())


def best_move(unmet: tuple[Requirement, ...], graph: SceneGraph, objects: tuple[PlacedObject, ...]) -> Move:
    """The restatement of an unmet requirement with the greatest mean gain, the first of equals."""
    return max(restatements(unmet), key=lambda move: mean_gain(move, graph, objects))


def _offsets(predicate: str, object_: PlacedObject, places: np.ndarray = _PLACES) -> np.ndarray:
    """By how many pixels the predicate holds between an object at each of the places and `object_`."""
    axis = 0 if predicate in ("left of", "right of") else 1
    delta = (object_.y if axis else object_.x) - places[:, axis]
    return delta if predicate in ("left of", "above") else -delta


def _apart(subject: PlacedObject, other: PlacedObject) -> np.ndarray:
    """Where the subject would lie inside the picture and keep the gap to another object (`scenes.shape_world.fits`)."""
    reach, x, y = extent(subject), _PLACES[:, 0], _PLACES[:, 1]
    inside = (x >= reach) & (x <= SIZE - reach) & (y >= reach) & (y <= SIZE - reach)
    circles = np.hypot(x - other.x, y - other.y) >= reach + extent(other) + GAP
    (left, top), (right, bottom) = (corner * subject.radius for corner in _box(subject.shape))
    (o_left, o_top), (o_right, o_bottom) = (corner * other.radius for corner in _box(other.shape))
    boxes = (
        (x + right + GAP <= other.x + o_left)
        | (other.x + o_right + GAP <= x + left)
        | (y + bottom + GAP <= other.y + o_top)
        | (other.y + o_bottom + GAP <= y + top)
    )
    return inside & (circles | boxes)


@cache
def _box(shape: str) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest corner of a shape of radius 1."""
    points = np.array(outline(shape))
    return points.min(axis=0), points.max(axis=0)
