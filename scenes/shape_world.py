"""The shape world: drawn 64×64 scenes of coloured shapes whose spatial relations are known exactly.

A predicate is decided on centres, in pixels, x to the right and y downwards: `a left of b` holds where
`b.x − a.x ≥ MARGIN`, `a above b` where `b.y − a.y ≥ MARGIN`. Colours within one scene differ, so that a colour alone
never leaves open which object is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw

from scenes.scene_graph import Item, Relation, SceneGraph
from scenes.splits import split_of

SIZE = 64
MARGIN = 4.0
CLEAR = 8.0  # in a drawn scene an asked-for relation holds by this much, so that it can be seen
RADII = (6.0, 8.5)
GAP = 2.0
BACKGROUND = (245, 245, 245)
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 80, 220),
    "yellow": (240, 210, 40),
    "purple": (140, 60, 180),
    "orange": (245, 130, 30),
}
SHAPES = ("circle", "square", "triangle", "star")
PREDICATES = ("left of", "right of", "above", "below")
INVERSE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
_AXIS_SIGN = {"left of": (0, 1.0), "right of": (0, -1.0), "above": (1, 1.0), "below": (1, -1.0)}
_SUPERSAMPLE = 4
Place = TypeVar("Place", float, np.ndarray)  # a coordinate in pixels, or those of many places


@dataclass(frozen=True)
class PlacedObject:
    """A coloured shape; centre and radius in pixels. The radius is that of the circle around the shape, scaled so
    that every shape covers about the same area."""

    colour: str
    shape: str
    x: float
    y: float
    radius: float

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class DrawnScene:
    """A scene graph together with one layout in which every one of its relations holds."""

    graph: SceneGraph
    objects: tuple[PlacedObject, ...]

    @property
    def image(self) -> np.ndarray:
        """uint8 array of shape (64, 64, 3)."""
        return draw(self.objects)


def offset(predicate: str, subject: PlacedObject, object_: PlacedObject) -> float:
    """By how many pixels the predicate holds; negative where its inverse does."""
    return along(predicate, object_.x - subject.x, object_.y - subject.y)


def along(predicate: str, dx: Place, dy: Place) -> Place:
    """The offset from a subject to an object that lies (dx, dy) pixels away."""
    axis, sign = _AXIS_SIGN[predicate]
    return sign * (dx, dy)[axis]


def holds(predicate: str, subject: PlacedObject, object_: PlacedObject) -> bool:
    """Whether the predicate holds between two placed objects."""
    return offset(predicate, subject, object_) >= MARGIN


def observed_predicate(subject: PlacedObject, object_: PlacedObject) -> str:
    """The predicate that holds by the largest margin between two objects."""
    return max(PREDICATES, key=lambda predicate: offset(predicate, subject, object_))


Places = Sequence[tuple[float, float]]  # of centres, in pixels
Layout = Callable[[list[tuple[str, str]], np.random.Generator], tuple[PlacedObject, ...]]


@cache
def outline(shape: str) -> tuple[tuple[float, float], ...]:
    """Corner points of a shape of area π around its centroid, y downwards; a circle is a 48-gon."""
    if shape == "circle":
        angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    elif shape == "square":
        points = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], dtype=float)
    elif shape == "triangle":
        angles = np.deg2rad([-90, 30, 150])
        points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    elif shape == "star":
        angles = np.deg2rad(np.arange(-90, 270, 36))
        radii = np.where(np.arange(10) % 2 == 0, 1.0, 0.45)
        points = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    else:
        raise ValueError(f"shape: {shape!r} is unknown; the shapes are {', '.join(SHAPES)}")
    x, y = points[:, 0], points[:, 1]
    area = 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
    return tuple(map(tuple, points * np.sqrt(np.pi / area)))


def draw(objects: tuple[PlacedObject, ...], size: int = SIZE) -> np.ndarray:
    """Draw objects in the order given, anti-aliased.

    Returns:
        uint8 array of shape (size, size, 3).
    """
    scale = _SUPERSAMPLE
    canvas = Image.new("RGB", (size * scale, size * scale), BACKGROUND)
    pen = ImageDraw.Draw(canvas)
    for placed in objects:
        points = [
            ((placed.x + dx * placed.radius) * scale, (placed.y + dy * placed.radius) * scale)
            for dx, dy in outline(placed.shape)
        ]
        pen.polygon(points, fill=COLOURS[placed.colour])
    return np.asarray(canvas.resize((size, size), Image.Resampling.BOX))


def extent(placed: PlacedObject) -> float:
    """Distance from the centre to the farthest corner, in pixels."""
    return placed.radius * _reach(placed.shape)


@cache
def _reach(shape: str) -> float:
    """The extent of a shape of radius 1."""
    return max(float(np.hypot(*point)) for point in outline(shape))


def fits(placed: PlacedObject, others: tuple[PlacedObject, ...], size: int = SIZE) -> bool:
    """Whether an object lies inside the picture and keeps a gap to all others."""
    return bool(free(placed, placed.x, placed.y, others, size))


def free(placed: PlacedObject, x: Place, y: Place, others: tuple[PlacedObject, ...], size: int = SIZE) -> np.ndarray:
    """Whether the object would fit at (x, y): truth values in an array of the shape of x and y."""
    reach = extent(placed)
    found = np.asarray((reach <= x) & (x <= size - reach) & (reach <= y) & (y <= size - reach))
    for other in others:
        distance = np.hypot(x - other.x, y - other.y)
        found = found & ((distance >= reach + extent(other) + GAP) | _boxes_apart(placed, x, y, other))
    return found


def _boxes_apart(a: PlacedObject, x: Place, y: Place, b: PlacedObject) -> bool | np.ndarray:
    """Whether the axis-parallel boxes around two objects keep the gap, which allows tighter packing than circles."""
    a_left, a_top, a_right, a_bottom = (side * a.radius for side in _box(a.shape))
    b_left, b_top, b_right, b_bottom = (side * b.radius for side in _box(b.shape))
    return (
        (x + a_right + GAP <= b.x + b_left)
        | (b.x + b_right + GAP <= x + a_left)
        | (y + a_bottom + GAP <= b.y + b_top)
        | (b.y + b_bottom + GAP <= y + a_top)
    )


@cache
def _box(shape: str) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a shape of radius 1."""
    x, y = zip(*outline(shape), strict=True)
    return min(x), min(y), max(x), max(y)


def place_anew(
    placed: PlacedObject,
    others: tuple[PlacedObject, ...],
    rng: np.random.Generator,
    tries: int = 60,
    places: Places | None = None,
) -> PlacedObject | None:
    """The same object at a random free place, one of `places` where they are given; None where all of these are taken,
    or `tries` draws found none."""
    reach = extent(placed)
    drawn = rng.uniform(reach, SIZE - reach, size=(tries, 2)) if places is None else rng.permutation(places)
    for x, y in drawn:
        candidate = replace(placed, x=float(x), y=float(y))
        if fits(candidate, others):
            return candidate
    return None


def sample_layout(
    names: list[tuple[str, str]],
    rng: np.random.Generator,
    radii: tuple[float, float] = RADII,
    places: Places | None = None,
) -> tuple[PlacedObject, ...]:
    """Place the (colour, shape) pairs at random without overlap, at `places` only where they are given."""
    while True:
        placed: list[PlacedObject] = []
        for colour, shape in names:
            start = PlacedObject(colour, shape, 0.0, 0.0, float(rng.uniform(*radii)))
            candidate = place_anew(start, tuple(placed), rng, places=places)
            if candidate is None:
                break
            placed.append(candidate)
        else:
            return tuple(placed)


def random_layout(rng: np.random.Generator, objects: tuple[int, int]) -> tuple[PlacedObject, ...]:
    """A layout of any combination of between `objects[0]` and `objects[1]` objects, whatever its split."""
    colours = rng.permutation(list(COLOURS))[: rng.integers(objects[0], objects[1] + 1)]
    return sample_layout([(str(colour), str(rng.choice(SHAPES))) for colour in colours], rng)


def sample_scene(
    rng: np.random.Generator,
    split: str | None = None,
    relations: tuple[int, int] = (1, 3),
    img_id: str = "scene",
    layout: Layout = sample_layout,
) -> DrawnScene:
    """Draw a scene: two to four objects and a connected, consistent scene graph that its layout satisfies.

    Args:
        split: `train` or `held_out` restricts the object combination to that split; None takes any.
        relations: least and greatest number of relations, between 1 and 8.
        layout: places (colour, shape) pairs.

    Raises:
        ValueError: an unknown split or a range of relations that no graph can have.
    """
    low, high = relations
    if not 1 <= low <= high <= 8:
        raise ValueError(f"relations: {relations} is not a range within 1 to 8")
    if split not in (None, "train", "held_out"):
        raise ValueError(f"split: {split!r} is unknown; use 'train' or 'held_out'")
    while True:
        wanted = int(rng.integers(low, high + 1))
        sizes = [n for n in (2, 3, 4) if n - 1 <= wanted <= n * (n - 1)]
        count = int(rng.choice(sizes))
        colours = rng.permutation(list(COLOURS))[:count]
        names = [(str(colour), str(rng.choice(SHAPES))) for colour in colours]
        if split is not None and split_of(names) != split:
            continue
        objects = layout(names, rng)
        graph = _describe(objects, wanted, rng, img_id)
        if graph is not None:
            return DrawnScene(graph, objects)


def _describe(
    objects: tuple[PlacedObject, ...], wanted: int, rng: np.random.Generator, img_id: str
) -> SceneGraph | None:
    """A connected graph of `wanted` relations that clearly hold, or None. At most one relation a pair and axis."""
    options = [
        (a, predicate, b)
        for a, b in combinations(range(len(objects)), 2)
        for predicate in PREDICATES
        if offset(predicate, objects[a], objects[b]) >= CLEAR
    ]
    options = [options[k] for k in rng.permutation(len(options))]
    group = list(range(len(objects)))
    chosen = []
    for a, predicate, b in options:  # a spanning tree first: every object takes part in a relation
        if group[a] != group[b]:
            chosen.append((a, predicate, b))
            group = [group[a] if g == group[b] else g for g in group]
    if len(set(group)) > 1 or len(chosen) > wanted:
        return None
    chosen += [option for option in options if option not in chosen][: wanted - len(chosen)]
    if len(chosen) < wanted:
        return None
    relations = []
    for a, predicate, b in (chosen[k] for k in rng.permutation(len(chosen))):
        if rng.random() < 0.5:
            a, predicate, b = b, INVERSE[predicate], a
        relations.append(Relation(a, predicate, b))
    items = tuple(Item(k, placed.shape, (placed.colour,)) for k, placed in enumerate(objects))
    return SceneGraph(img_id, items, tuple(relations))


def sample_graphs(split: str, seed: int, relations: tuple[int, int] = (2, 3)) -> Iterator[SceneGraph]:
    """Unlimited scene graphs of one split, the same for the same seed."""
    rng = np.random.default_rng([seed, 0 if split == "train" else 1])
    index = 0
    while True:
        yield sample_scene(rng, split, relations, img_id=f"{split}-{seed}-{index}").graph
        index += 1
