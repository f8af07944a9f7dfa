import io
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

from scenes.extractors import Extraction, Malformed, extract, observed_triples, satisfied
from scenes.kinds.kinds import Attribute, Count, FreeQuestion, Presence
from scenes.scene_graph import Requirement, parse_prompt
from scenes.shape_world import BACKGROUND, COLOURS, PREDICATES, SHAPES, PlacedObject, draw, sample_scene


def degrade(
    image: np.ndarray, rng: np.random.Generator, sigma: float = 0.0, blur: float = 0.0, quality: int | None = None
) -> np.ndarray:
    """Blur, then add Gaussian noise of standard deviation `sigma` (of 255), then compress as JPEG."""
    soft = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(blur)), dtype=float)
    noisy = np.clip(np.round(soft + rng.normal(0, sigma, soft.shape)), 0, 255).astype(np.uint8)
    if quality is None:
        return noisy
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def is_right(extraction: Extraction, objects: tuple[PlacedObject, ...]) -> bool:
    """The same objects, nothing malformed, each centre within 1.5 pixels."""
    if extraction.malformed or sorted(extraction.names) != sorted(placed.name for placed in objects):
        return False
    found = [extraction.find(placed.name) for placed in objects]
    return all(np.hypot(f.x - o.x, f.y - o.y) <= 1.5 for f, o in zip(found, objects, strict=True))


def polygon(points: list[tuple[float, float]], colour: tuple[int, int, int]) -> np.ndarray:
    """A picture of one polygon, anti-aliased; points in pixels."""
    canvas = Image.new("RGB", (256, 256), BACKGROUND)
    ImageDraw.Draw(canvas).polygon([(4 * x, 4 * y) for x, y in points], fill=colour)
    return np.asarray(canvas.resize((64, 64), Image.Resampling.BOX))


def turned(corners: int, degrees: float, radius: float = 9.0) -> list[tuple[float, float]]:
    angles = np.deg2rad(degrees + np.arange(corners) * 360 / corners)
    return [(32 + radius * np.cos(a), 32 + radius * np.sin(a)) for a in angles]


def test_at_least_995_of_1000_scenes_are_read_right_under_noise_blur_and_jpeg():
    rng = np.random.default_rng(20)
    right = 0
    for _ in range(600):
        scene = sample_scene(rng, relations=(1, 5))
        quality = int(rng.integers(70, 96)) if rng.random() < 0.7 else None
        image = degrade(scene.image, rng, rng.uniform(0, 8), rng.uniform(0, 0.7), quality)
        right += is_right(extract(image), scene.objects)
    assert right >= 0.995 * 600


@pytest.mark.parametrize(
    ("sigma", "blur", "quality"), [(0, 0, None), (8, 0, None), (0, 0.7, None), (0, 0, 70), (8, 0.7, 70)]
)
def test_scenes_are_read_right_at_the_worst_of_each_disturbance(sigma, blur, quality):
    rng = np.random.default_rng(21)
    scenes = [sample_scene(rng) for _ in range(200)]
    right = sum(is_right(extract(degrade(s.image, rng, sigma, blur, quality)), s.objects) for s in scenes)
    assert right >= 0.995 * len(scenes)


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_object_is_recognised_with_its_radius(colour, shape):
    extraction = extract(draw((PlacedObject(colour, shape, 24.3, 40.6, 6.4),)))
    assert extraction.malformed == ()
    assert extraction.names == (f"{colour} {shape}",)
    assert extraction.objects[0].radius == pytest.approx(6.4, abs=0.35)


def test_mildly_distorted_shapes_are_recognised_and_never_mistaken():
    rng = np.random.default_rng(22)
    total = right = wrong = 0
    for _ in range(100):
        scene = sample_scene(rng)
        shifts = [ndimage.gaussian_filter(rng.normal(size=(64, 64)), 4) for _ in range(2)]
        grid = [axis + 0.6 * shift / shift.std() for axis, shift in zip(np.indices((64, 64)), shifts, strict=True)]
        bent = np.stack(
            [ndimage.map_coordinates(scene.image[..., k], grid, order=1, mode="nearest") for k in range(3)], axis=-1
        )
        truth, found = {placed.name for placed in scene.objects}, set(extract(degrade(bent, rng, 3, 0.4)).names)
        total, right, wrong = total + len(truth), right + len(truth & found), wrong + len(found - truth)
    assert right >= 0.97 * total
    assert wrong == 0


@pytest.mark.parametrize(
    "points",
    [
        turned(4, 0),
        turned(3, 90),
        turned(3, 180),
        [(24, 27), (40, 27), (40, 37), (24, 37)],
        [(24, 24), (24, 40), (40, 40)],
        [(24, 24), (40, 24), (40, 30), (30, 30), (30, 40), (24, 40)],
        [(32 + 11 * np.cos(a), 32 + 6 * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 40)],
    ],
    ids=["diamond", "triangle down", "triangle left", "rectangle", "right triangle", "L", "ellipse"],
)
def test_what_is_no_shape_of_the_world_is_malformed(points):
    extraction = extract(polygon(points, COLOURS["purple"]))
    assert extraction.objects == ()
    assert len(extraction.malformed) == 1
    assert extraction.malformed[0].colour == "purple"
    assert extraction.malformed[0].reason.startswith(("resembles no shape", "between"))


def test_a_ring_is_malformed():
    image = draw((PlacedObject("red", "circle", 32, 32, 8.5),)).copy()
    rows, columns = np.indices((64, 64))
    image[np.hypot(rows - 31.5, columns - 31.5) < 4.5] = BACKGROUND
    assert extract(image).objects == ()


@pytest.mark.parametrize(("radius", "reason"), [(3.5, "too small"), (12.0, "too large")])
def test_an_object_of_an_impossible_size_is_malformed(radius, reason):
    extraction = extract(draw((PlacedObject("green", "square", 30.0, 20.0, radius),)))
    assert extraction.objects == ()
    (finding,) = extraction.malformed
    assert finding.reason.startswith(reason)
    assert (finding.colour, round(finding.x), round(finding.y)) == ("green", 30, 20)


def test_half_way_between_circle_and_square_is_ambiguous():
    pair = [draw((PlacedObject("blue", shape, 32, 32, 8),)).astype(float) for shape in ("circle", "square")]
    (finding,) = extract(np.round(sum(pair) / 2).astype(np.uint8)).malformed
    assert finding.reason in ("between circle and square", "between square and circle")


@pytest.mark.parametrize("colour", [(128, 128, 128), (20, 20, 20), (120, 80, 40), (250, 160, 200)])
def test_a_colour_outside_the_palette_is_malformed(colour):
    extraction = extract(polygon(turned(40, 0, 7.0), colour))
    assert extraction.objects == ()
    (finding,) = extraction.malformed
    assert finding.colour is None
    assert "not in the palette" in finding.reason
    assert (finding.x, finding.y) == (pytest.approx(32, abs=0.5), pytest.approx(32, abs=0.5))


def test_specks_are_ignored_and_an_empty_picture_is_empty():
    image = draw((PlacedObject("red", "star", 20, 20, 8),)).copy()
    image[50:53, 50:53] = COLOURS["blue"]
    assert extract(image).names == ("red star",)
    assert extract(image).malformed == ()
    assert extract(draw(())) == Extraction(())


def test_overlapping_objects_of_different_colours_are_not_guessed():
    covered = (PlacedObject("red", "circle", 30, 32, 8), PlacedObject("blue", "circle", 36, 32, 8))
    extraction = extract(draw(covered))
    assert extraction.names == ("blue circle",)
    assert [finding.colour for finding in extraction.malformed] == ["red"]


def test_a_name_that_occurs_twice_is_reported_twice_and_satisfies_nothing():
    red = [PlacedObject("red", "circle", x, 20, 7) for x in (14, 50)]
    extraction = extract(draw((*red, PlacedObject("blue", "square", 32, 50, 7))))
    assert sorted(extraction.names) == ["blue square", "red circle", "red circle"]
    assert extraction.find("red circle") is None
    assert not satisfied(Requirement("red circle", "above", "blue square"), extraction)
    graph = parse_prompt("red circle above blue square", PREDICATES)
    assert observed_triples(extraction, graph) == set()


def test_objects_of_one_colour_are_told_apart_by_shape():
    extraction = extract(draw((PlacedObject("red", "circle", 14, 20, 7), PlacedObject("red", "star", 45, 20, 7))))
    assert satisfied(Requirement("red circle", "left of", "red star"), extraction)


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        (np.zeros((32, 32, 3), np.uint8), r"shape \(32, 32, 3\)"),
        (np.zeros((64, 64), np.uint8), r"shape \(64, 64\)"),
        (np.zeros((64, 64, 3), np.float32), "dtype float32"),
    ],
)
def test_an_image_of_another_form_is_refused(image, shown):
    with pytest.raises(ValueError, match=shown):
        extract(image)


SQUARE_RIGHT_BELOW = Extraction((PlacedObject("red", "circle", 10, 20, 7), PlacedObject("blue", "square", 40, 30, 7)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("red circle left of blue square", True),
        ("red circle above blue square", True),
        ("blue square right of red circle", True),
        ("red circle right of blue square", False),
        ("blue square above red circle", False),
        ("red circle left of green star", False),
        ("green star left of red circle", False),
    ],
)
def test_a_requirement_holds_by_the_centres_of_both_objects(text, expected):
    (requirement,) = parse_prompt(text, PREDICATES).requirements
    assert satisfied(requirement, SQUARE_RIGHT_BELOW) is expected


def test_a_malformed_object_satisfies_nothing():
    extraction = Extraction(SQUARE_RIGHT_BELOW.objects[:1], (Malformed("resembles no shape", "blue", 40, 30),))
    assert not satisfied(Requirement("red circle", "left of", "blue square"), extraction)


def test_observed_triples_keep_what_holds_and_replace_what_does_not():
    asked = "red circle above blue square; blue square left of red circle; red circle left of green star"
    assert observed_triples(SQUARE_RIGHT_BELOW, parse_prompt(asked, PREDICATES)) == {
        ("red circle", "above", "blue square"),
        ("blue square", "right of", "red circle"),
    }


def test_objects_on_top_of_each_other_are_in_no_triple():
    extraction = Extraction((PlacedObject("red", "circle", 30, 30, 7), PlacedObject("blue", "square", 33, 31, 7)))
    assert observed_triples(extraction, parse_prompt("red circle left of blue square", PREDICATES)) == set()


def test_the_requirements_of_every_drawn_scene_are_satisfied():
    rng = np.random.default_rng(23)
    for _ in range(50):
        scene = sample_scene(rng)
        extraction = extract(scene.image)
        assert all(satisfied(requirement, extraction) for requirement in scene.graph.requirements)
        assert observed_triples(extraction, scene.graph) == {r.triple for r in scene.graph.requirements}


def test_a_predicate_that_pixels_cannot_decide_is_refused():
    requirement = Requirement("red circle", "hanging from", "blue square")
    with pytest.raises(ValueError, match="'hanging from' cannot be decided"):
        satisfied(requirement, SQUARE_RIGHT_BELOW)


def test_objects_come_in_the_order_of_the_palette():
    positions = [(10, 10), (32, 10), (54, 10), (10, 50), (32, 50), (54, 50)]
    objects = [PlacedObject(c, "circle", x, y, 6.5) for c, (x, y) in zip(reversed(COLOURS), positions, strict=True)]
    order = [list(COLOURS).index(placed.colour) for placed in extract(draw(tuple(objects))).objects]
    assert all(a < b for a, b in pairwise(order))
    assert len(order) == 6


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        (Presence("red circle"), True),
        (Presence("circle"), True),
        (Presence("red square"), False),
        (Presence("star"), False),
        (Count("circle", 1), True),
        (Count("circle", 2), False),
        (Count("star", 1), False),
        (Attribute("square", "blue"), True),
        (Attribute("square", "red"), False),
        (Attribute("star", "red"), False),
    ],
)
def test_presence_counts_and_colours_are_read_from_the_objects(requirement, expected):
    assert satisfied(requirement, SQUARE_RIGHT_BELOW) is expected


def test_of_two_circles_nothing_says_which_is_meant():
    two = Extraction((*SQUARE_RIGHT_BELOW.objects, PlacedObject("red", "circle", 50.0, 50.0, 8.0)))
    assert satisfied(Count("red circle", 2), two)
    assert not satisfied(Attribute("circle", "red"), two)


@pytest.mark.parametrize(
    "requirement",
    [Presence("fox"), Count("big circle", 2), Attribute("circle", "wooden"), FreeQuestion("Is it day?")],
)
def test_what_pixels_of_the_shape_world_cannot_decide_is_refused(requirement):
    with pytest.raises(ValueError, match="cannot be decided from shape-world pixels"):
        satisfied(requirement, SQUARE_RIGHT_BELOW)
