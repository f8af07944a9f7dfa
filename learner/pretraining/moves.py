"""How much a move helps, on average over the places where it can end: the teacher of the small Actor ranks moves so."""

from __future__ import annotations

import numpy as np

from scenes.scene_graph import Requirement, SceneGraph
from scenes.shape_world import INVERSE, MARGIN, SIZE, PlacedObject, along, free, holds

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
    others = tuple(o for o in objects if o is not subject)
    x, y = _PLACES[:, 0], _PLACES[:, 1]
    possible = free(subject, x, y, others) & (along(move[1], anchor.x - x, anchor.y - y) >= MARGIN)
    if not possible.any():
        return 0.0
    now = {o.name: np.array([[o.x], [o.y]]) for o in others} | {subject.name: _PLACES[possible].T}
    gain = np.zeros(int(possible.sum()))
    for r in graph.related:
        if subject.name in (r.subject, r.object):
            dx, dy = now[r.object] - now[r.subject]
            gain += along(r.predicate, dx, dy) >= MARGIN
            gain -= holds(r.predicate, by_name[r.subject], by_name[r.object])
    found = 1.0 - (1.0 - possible.mean()) ** DRAWS
    return float(found * gain.mean())


def best_move(unmet: tuple[Requirement, ...], graph: SceneGraph, objects: tuple[PlacedObject, ...]) -> Move:
    """The restatement of an unmet requirement with the greatest mean gain, the first of equals."""
    return max(restatements(unmet), key=lambda move: mean_gain(move, graph, objects))
