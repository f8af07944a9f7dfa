"""Exact extraction of the shape world: from the pixels of a picture to the objects it shows, without any network.

How it reads a picture: every pixel is explained as `background + coverage · (colour − background)` by the palette
colour that comes closest. Pixels that one colour covers almost fully form the cores of objects, the remaining coloured
pixels belong to the nearest core. An object's area and centre are the sum and the mean of its coverage. Its coverage,
scaled to unit radius around the centre, is then compared with what a clean drawing of each shape looks like.

It never guesses: what resembles no shape well, or two shapes nearly as well, is reported as malformed with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from scenes.kinds.kinds import Attribute, Count, FreeQuestion
from scenes.scene_graph import AnyRequirement, Requirement, SceneGraph
from scenes.shape_world import (
    BACKGROUND,
    COLOURS,
    PREDICATES,
    RADII,
    SHAPES,
    SIZE,
    PlacedObject,
    draw,
    holds,
    observed_predicate,
)

Triple = tuple[str, str, str]

CORE_DISTANCE = 75.0  # RGB distance to a palette colour below which a pixel counts as fully covered by it
FOREGROUND_DISTANCE = 70.0  # RGB distance to the background above which a pixel needs an explanation
CORE_PIXELS = 24  # smaller cores are specks: fringes between colours, compression artefacts
STRAY_PIXELS = 20  # as many coloured pixels far from every core are a finding of their own
REACH = 3.0  # how far an object's soft edge extends beyond its core, in pixels
AREAS = (np.pi * (RADII[0] * 0.8) ** 2, np.pi * (RADII[1] * 1.2) ** 2)  # of what still counts as an object
# Least intersection over union with the shape itself. The same-sized circle and square overlap by 0.84 and a blob looks
# most like a circle, so these need more than triangle and star, which no other shape matches by more than 0.70.
LEAST_OVERLAP = {"circle": 0.86, "square": 0.83, "triangle": 0.77, "star": 0.76}
AMBIGUOUS = 0.36  # how far on the way from the best shape to another one a finding may lie; 0.5 is half-way
LUMA_WEIGHT = 6.0
BLURS = (0.0, 0.7, 1.1)  # px; an edge may be as soft as JPEG, a blur or a small image decoder leaves it
_GRID_STEP, _GRID_HALF = 0.12, 14  # the unit-radius frame: 29×29 points from −1.68 to 1.68

_PALETTE = np.array(list(COLOURS.values()), dtype=np.float32)
_TOWARDS = np.array(BACKGROUND, dtype=np.float32) - _PALETTE  # background minus colour, one row a colour
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
# JPEG keeps brightness at full and colour at half resolution, so brightness tells more about an edge.
_METRIC = np.eye(3, dtype=np.float32) + LUMA_WEIGHT * np.outer(_LUMA, _LUMA)
_COLOUR_NAMES = tuple(COLOURS)


@dataclass(frozen=True)
class Malformed:
    """Something coloured that is no object of the shape world. `colour` is None where it matches no palette colour;
    x and y are its centre in pixels."""

    reason: str
    colour: str | None
    x: float
    y: float


@dataclass(frozen=True)
class Extraction:
    """What one picture shows."""

    objects: tuple[PlacedObject, ...]
    malformed: tuple[Malformed, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all well-formed objects; a name that occurs twice is listed twice."""
        return tuple(placed.name for placed in self.objects)

    def find(self, name: str) -> PlacedObject | None:
        """The object of this name; None where there is none, or more than one and so no telling which is meant."""
        found = [placed for placed in self.objects if placed.name == name]
        return found[0] if len(found) == 1 else None


def extract(image: np.ndarray) -> Extraction:
    """Read the objects of a shape-world picture.

    Args:
        image: uint8 array of shape (64, 64, 3).

    Returns:
        Objects and malformed findings, each in the palette's order. Object centres and radii in pixels.

    Raises:
        ValueError: another shape or dtype.
    """
    if image.shape != (SIZE, SIZE, 3) or image.dtype != np.uint8:
        raise ValueError(
            f"image: shape {image.shape} and dtype {image.dtype} cannot be read; "
            f"the extractor needs a uint8 array of shape ({SIZE}, {SIZE}, 3)"
        )
    objects: list[PlacedObject] = []
    malformed: list[Malformed] = []
    colours, owner, stray = _segment(image)
    for number, colour in enumerate(colours, start=1):
        coverage = np.where(owner == number, _coverage(image, colour), 0.0)
        finding = _judge(coverage, _COLOUR_NAMES[colour])
        if isinstance(finding, PlacedObject):
            objects.append(finding)
        else:
            malformed.append(finding)
    labels, count = ndimage.label(stray)
    for number in range(1, count + 1):
        ys, xs = np.nonzero(labels == number)
        if len(xs) >= STRAY_PIXELS:
            reason = f"{len(xs)} pixels of a colour that is not in the palette"
            malformed.append(Malformed(reason, None, float(xs.mean()) + 0.5, float(ys.mean()) + 0.5))
    return Extraction(tuple(objects), tuple(malformed))


def _segment(image: np.ndarray) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Find the cores of objects and the pixels around each.

    Returns:
        colours: the palette index of each core; owner: int (H, W), the number from 1 of the core that a pixel may
        belong to, 0 for none; stray: bool (H, W), coloured pixels that no core explains.
    """
    pixels = image.astype(np.float32)
    distance = np.linalg.norm(pixels[:, :, None, :] - _PALETTE, axis=3)
    nearest = distance.argmin(axis=2)
    covered = np.take_along_axis(distance, nearest[:, :, None], axis=2)[:, :, 0] < CORE_DISTANCE
    cores = np.zeros(image.shape[:2], dtype=np.int32)
    colours: list[int] = []
    for colour in np.unique(nearest[covered]):
        labels, count = ndimage.label(covered & (nearest == colour))
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        for label in range(1, count + 1):
            if sizes[label] >= CORE_PIXELS:
                colours.append(int(colour))
                cores[labels == label] = len(colours)
    foreground = np.linalg.norm(pixels - np.array(BACKGROUND, dtype=np.float32), axis=2) > FOREGROUND_DISTANCE
    if not colours:
        return colours, cores, foreground
    away, (rows, columns) = ndimage.distance_transform_edt(cores == 0, return_indices=True)
    owner = np.where(away <= REACH, cores[rows, columns], 0)
    return colours, owner, foreground & (owner == 0)


def _coverage(image: np.ndarray, colour: int) -> np.ndarray:
    """How much of each pixel one palette colour covers: float32 (H, W), 0 for background, 1 for the full colour."""
    towards = _TOWARDS[colour]
    direction = _METRIC @ towards
    projected: np.ndarray = (np.array(BACKGROUND, dtype=np.float32) - image) @ direction
    return projected / float(towards @ direction)


def _judge(coverage: np.ndarray, colour: str) -> PlacedObject | Malformed:
    """Decide which shape a coverage map (H, W) shows, if any."""
    area = float(coverage.sum())
    solid = np.clip(coverage, 0.0, 1.0)
    rows, columns = np.indices(coverage.shape)
    weight = float(solid.sum())
    x, y = float((columns * solid).sum() / weight) + 0.5, float((rows * solid).sum() / weight) + 0.5
    if not AREAS[0] <= area <= AREAS[1]:
        size = "small" if area < AREAS[0] else "large"
        return Malformed(f"too {size}: {area:.0f} px², an object has {AREAS[0]:.0f} to {AREAS[1]:.0f}", colour, x, y)
    radius = float(np.sqrt(area / np.pi))
    seen = _in_unit_frame(solid, x, y, radius)
    templates = _sharpest_fit(seen)
    overlaps = [_overlap(seen, template) for template in templates]
    best = int(np.argmax(overlaps))
    if overlaps[best] < LEAST_OVERLAP[SHAPES[best]]:
        return Malformed(f"resembles no shape: {SHAPES[best]} fits best, at {overlaps[best]:.2f}", colour, x, y)
    for other in range(len(SHAPES)):
        if other != best:
            path = templates[other] - templates[best]
            position = float(((seen - templates[best]) * path).sum() / (path * path).sum())
            if position > AMBIGUOUS:
                return Malformed(f"between {SHAPES[best]} and {SHAPES[other]}", colour, x, y)
    return PlacedObject(colour, SHAPES[best], x, y, radius)


def _sharpest_fit(seen: np.ndarray) -> np.ndarray:
    """The templates (4, 29, 29) of the one blur at which some shape fits best."""
    templates = _templates()
    overlaps = np.minimum(templates, seen).sum(axis=(2, 3)) / np.maximum(templates, seen).sum(axis=(2, 3))
    sharpest: np.ndarray = templates[int(overlaps.max(axis=1).argmax())]
    return sharpest


def _overlap(seen: np.ndarray, template: np.ndarray) -> float:
    """Soft intersection over union of two coverage maps."""
    return float(np.minimum(template, seen).sum() / np.maximum(template, seen).sum())


def _in_unit_frame(coverage: np.ndarray, x: float, y: float, radius: float) -> np.ndarray:
    """Sample a coverage map (H, W) on the grid of unit-radius coordinates around a centre: float (29, 29)."""
    steps = np.arange(-_GRID_HALF, _GRID_HALF + 1) * _GRID_STEP * radius
    rows, columns = np.meshgrid(y - 0.5 + steps, x - 0.5 + steps, indexing="ij")
    sampled: np.ndarray = ndimage.map_coordinates(coverage, [rows, columns], order=1, mode="constant")
    return sampled


@lru_cache(maxsize=1)
def _templates() -> np.ndarray:
    """What clean drawings look like in the unit frame: float (blurs, 4, 29, 29), in the orders of BLURS and SHAPES."""
    radius, middle = sum(RADII) / 2, SIZE / 2
    frames = []
    for blur in BLURS:
        for shape in SHAPES:
            image = draw((PlacedObject("blue", shape, middle, middle, radius),))
            coverage = np.clip(_coverage(image, _COLOUR_NAMES.index("blue")), 0.0, 1.0)
            frames.append(_in_unit_frame(ndimage.gaussian_filter(coverage, blur), middle, middle, radius))
    return np.stack(frames).reshape(len(BLURS), len(SHAPES), *frames[0].shape)


def satisfied(requirement: AnyRequirement, extraction: Extraction) -> bool:
    """Whether a requirement holds in a picture. Of a relation, both objects are there exactly once, well-formed, and so
    related. Of an attribute, the item is there exactly once, and has this colour. Malformed objects are none.

    Raises:
        ValueError: what cannot be decided from shape-world pixels.
    """
    if isinstance(requirement, Requirement):
        _check_predicates([requirement])
        subject, object_ = extraction.find(requirement.subject), extraction.find(requirement.object)
        return subject is not None and object_ is not None and holds(requirement.predicate, subject, object_)
    if isinstance(requirement, FreeQuestion):
        raise _undecidable(requirement, "a question")
    *colours, shape = requirement.item.split()
    if shape not in SHAPES or not set(colours) <= set(COLOURS):
        raise _undecidable(requirement, f"item {requirement.item!r}")
    seen = [one for one in extraction.objects if one.shape == shape and {one.colour} >= set(colours)]
    if isinstance(requirement, Attribute):
        if requirement.attribute not in COLOURS:
            raise _undecidable(requirement, f"attribute {requirement.attribute!r}")
        return len(seen) == 1 and seen[0].colour == requirement.attribute
    return len(seen) == requirement.number if isinstance(requirement, Count) else bool(seen)


def _undecidable(requirement: AnyRequirement, what: str) -> ValueError:
    return ValueError(
        f"requirement {requirement.text!r}: {what} cannot be decided from shape-world pixels; name its shapes and "
        "colours, or use an extractor for photographs"
    )


def observed_triples(extraction: Extraction, graph: SceneGraph) -> set[Triple]:
    """The triples that the picture shows, in LAION-SG's protocol.

    There the extractor is given the list of items and of relations that were asked for, and says how these items are
    related in the picture. So each pair that the graph relates contributes one triple for each of its requirements,
    where both of its objects were found: the asked-for triple if it holds, else the predicate that holds by the
    largest margin. Nothing is contributed by pairs that the graph does not relate, by objects that are missing,
    malformed or doubled, and by objects so close together that no predicate holds.

    Raises:
        ValueError: a predicate that the shape world does not define.
    """
    _check_predicates(graph.related)
    triples: set[Triple] = set()
    for asked in graph.related:
        subject, object_ = extraction.find(asked.subject), extraction.find(asked.object)
        if subject is None or object_ is None:
            continue
        predicate = asked.predicate
        if not holds(predicate, subject, object_):
            predicate = observed_predicate(subject, object_)
        if holds(predicate, subject, object_):
            triples.add((asked.subject, predicate, asked.object))
    return triples


def _check_predicates(requirements: Iterable[Requirement]) -> None:
    for requirement in requirements:
        if requirement.predicate not in PREDICATES:
            raise ValueError(
                f"requirement {requirement.text!r}: predicate {requirement.predicate!r} cannot be decided from shape-"
                f"world pixels; use one of {', '.join(PREDICATES)}, or an extractor for photographs"
            )
