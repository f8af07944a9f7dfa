"""The places and the one size of the objects that the small pipeline learns to draw: a lattice of the cells of its
latents.

Where objects may lie anywhere, the flow averages over all places for most of its way, and what is left comes out
blended. A lattice of cells leaves it a choice among few places, at each of which an object looks the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, product

import numpy as np

from scenes.shape_world import SIZE, PlacedObject, fits, holds

RADIUS = 7.0
STEP = 8  # pixels; one packed latent
PLACES = tuple(product(range(12, SIZE - 11, STEP), repeat=2))  # centres of cells at which every shape lies inside


def free_places(
    placed: PlacedObject, others: tuple[PlacedObject, ...], rng: np.random.Generator
) -> Iterator[PlacedObject]:
    """The same object at every place of the lattice that is free, in random order."""
    for x, y in rng.permutation(PLACES):
        candidate = replace(placed, x=float(x), y=float(y))
        if fits(candidate, others):
            yield candidate


def lattice_layout(names: list[tuple[str, str]], rng: np.random.Generator) -> tuple[PlacedObject, ...]:
    """Place the (colour, shape) pairs on the lattice at random without overlap, like `shape_world.sample_layout`."""
    while True:
        placed: tuple[PlacedObject, ...] = ()
        for colour, shape in names:
            candidates = free_places(PlacedObject(colour, shape, 0.0, 0.0, RADIUS), placed, rng)
            placed += tuple(islice(candidates, 1))
        if len(placed) == len(names):
            return placed


def lattice_move(
    instruction: tuple[str, str, str], objects: tuple[PlacedObject, ...], rng: np.random.Generator
) -> tuple[PlacedObject, ...] | None:
    """Carry out `move SUBJECT PREDICATE OBJECT` at a random free place of the lattice; None where there is none."""
    subject, predicate, object_ = instruction
    by_name = {o.name: o for o in objects}
    others = tuple(o for o in objects if o.name != subject)
    for moved in free_places(by_name[subject], others, rng):
        if holds(predicate, moved, by_name[object_]):
            return tuple(moved if o.name == subject else o for o in objects)
    return None
