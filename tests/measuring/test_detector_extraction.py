from dataclasses import replace

import numpy as np
import pytest

from measuring.detector_extraction import DetectorExtractor
from measuring.image_scorer import ExactExtractor, Unscored
from rewards.detection.reader import DetectorReader
from scenes.kinds.kinds import Attribute, Count, Presence
from scenes.scene_graph import Item, Relation, SceneGraph
from scenes.scene_graph_iou import SceneScores
from scenes.shape_world import sample_scene
from tests.scenes.detected.seen import find_shapes

SCENES = [sample_scene(np.random.default_rng(seed), img_id=str(seed), relations=(2, 3)) for seed in range(12)]
GRAPHS, IMAGES = [scene.graph for scene in SCENES], [scene.image for scene in SCENES]


def extractor() -> DetectorExtractor:
    return DetectorExtractor(DetectorReader("shapes", rule="visor", find=find_shapes))


def test_drawn_scenes_score_as_by_the_exact_extractor_also_mirrored_ones() -> None:
    """By relations alone: the exact extractor also counts items that nobody asked for, and here there are none."""
    for images in (IMAGES, [image[:, ::-1].copy() for image in IMAGES]):
        assert extractor().score(GRAPHS, images) == ExactExtractor().score(GRAPHS, images)


def test_an_empty_image_scores_zero_and_is_scored() -> None:
    blank = np.full_like(IMAGES[0], 245)
    assert extractor().score(GRAPHS[:1], [blank]) == [SceneScores(0.0, 0.0, 0.0, 0.0)]


def test_an_image_about_which_boxes_decide_nothing_stays_unscored() -> None:
    cat, dog = Item(0, "cat"), Item(1, "dog")
    graph = SceneGraph("pets", (cat, dog), (Relation(0, "chasing", 1),))
    measuring = extractor()
    scored, unscored = measuring.score([GRAPHS[0], graph], [IMAGES[0], IMAGES[0]])
    assert isinstance(scored, SceneScores)
    assert unscored == Unscored("boxes decide none of its requirements")
    asked = len(GRAPHS[0].requirements)
    assert measuring.report() == {
        "extractor": "detector",
        "model": "shapes",
        "threshold": None,
        "rule": "visor",
        "requirements": asked + 1,
        "undecided_requirements": 1,
    }


def test_a_graph_without_relations_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to score"):
        extractor().score([SceneGraph("one", (Item(0, "cat"),), ())], IMAGES[:1])


def test_other_requirements_that_boxes_decide_have_scores_of_their_own() -> None:
    scene = SCENES[0]
    one, other = scene.graph.items[:2]
    others = (Presence(one.name), Count(other.name, 2), Attribute(one.label, "wooden"))
    measuring = extractor()
    (scored,) = measuring.score([replace(scene.graph, others=others)], [scene.image])
    assert isinstance(scored, SceneScores)
    assert scored.by_kind == {"relation": 1.0, "presence": 1.0, "count": 0.0}
    related = len(scene.graph.related)
    assert scored.satisfied == (related + 1) / (related + 2)
    assert measuring.report()["undecided_requirements"] == 1
