import numpy as np
import pytest

from measuring.image_scorer import ExactExtractor, Unscored, tally
from scenes.scene_graph_iou import SceneScores
from scenes.shape_world import sample_scene


def test_the_exact_extractor_scores_drawn_scenes_fully():
    scenes = [sample_scene(np.random.default_rng(seed)) for seed in range(5)]
    scores = ExactExtractor().score([scene.graph for scene in scenes], [scene.image for scene in scenes])
    assert scores == [SceneScores(1.0, 1.0, 1.0, 1.0)] * 5


def test_as_many_graphs_as_images_are_needed():
    scene = sample_scene(np.random.default_rng(0))
    with pytest.raises(ValueError, match="zip"):
        ExactExtractor().score([scene.graph], [])


def test_a_tally_counts_scored_and_unscored_and_the_reasons():
    results = [0.5, Unscored("no answer"), 0.0, Unscored("not closed"), Unscored("no answer")]
    expected = {"n_scored": 2, "n_failed": 3, "reasons": {"no answer": 2, "not closed": 1}}
    assert tally(results) == expected
    assert list(tally(results)["reasons"]) == ["no answer", "not closed"]
    assert tally([]) == {"n_scored": 0, "n_failed": 0, "reasons": {}}


def test_rare_reasons_are_added_up():
    results = [Unscored(f"reason {k}") for k in range(30)] + [Unscored("often")] * 2
    reasons = tally(results)["reasons"]
    assert len(reasons) == 21
    assert (reasons["often"], reasons["other reasons"], sum(reasons.values())) == (2, 11, 32)
