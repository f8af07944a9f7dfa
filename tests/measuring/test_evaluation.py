from dataclasses import replace
from math import nan
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from measuring.evaluation import checker_metrics, evaluate_models, judge_metrics, own_reward, scene_metrics
from measuring.image_scorer import ExactExtractor, Unscored
from measuring.measures import Measures
from reports.tables import metric_meaning
from rollout.state import Frame
from scenes.kinds.kinds import Count, Presence
from scenes.scene_graph_iou import SceneScores
from scenes.shape_world import sample_scene
from tests.rollout.scripted_models import ScriptedModels

SCENES = [sample_scene(np.random.default_rng(seed), img_id=f"scene-{seed}") for seed in range(4)]
GRAPHS = [scene.graph for scene in SCENES]


class DrawingModels(ScriptedModels):
    """Draws the asked-for scenes; the Checker holds those of `met` to be right and every edit besides."""

    def __init__(self, met: set[str]) -> None:
        super().__init__(threshold=-1)
        images = {scene.graph.prompt: scene.image for scene in SCENES}
        wrong = [images[graph.prompt] for graph in GRAPHS if graph.img_id not in met]
        self.diffuser = SimpleNamespace(draw=lambda prompts, seeds: [images[prompt] for prompt in prompts])
        self.checker = SimpleNamespace(
            satisfaction=lambda seen, requirements: [
                [float(not any(image is other for other in wrong))] * len(r)
                for image, r in zip(seen, requirements, strict=True)
            ]
        )


class ListedScores:
    """Gives the results of a list, and remembers how many images it was given."""

    def __init__(self, results: list[Any]) -> None:
        self.results, self.asked = results, 0

    def score(self, graphs: Any, images: Any) -> list[Any]:
        assert len(graphs) == len(images)
        self.asked = len(images)
        return self.results[: len(images)]

    def report(self) -> dict[str, Any]:
        return {"requests": self.asked}


def test_the_exact_extractor_measures_first_and_last_images():
    models = DrawingModels(met={"scene-0", "scene-1", "scene-2"})
    metrics, episodes, scores = evaluate_models(models, GRAPHS, 2, Measures(ExactExtractor()))
    assert [len(episode.frames) for episode in episodes] == [1, 1, 1, 2]
    assert metrics["diffuser"] == {
        **dict.fromkeys(("sg_iou", "entity_iou", "relation_iou", "satisfied", "all_satisfied"), 1.0),
        "checker_reward": 0.75,
    }
    assert metrics["loop"]["all_satisfied"] == 0.75  # the edited image is one grey value
    assert metrics["loop"]["checker_reward"] == 1.0
    assert metrics["loop"]["turns_used"] == 0.25
    assert metrics["extraction"] == {
        "extractor": "exact",
        "n_scored": 5,
        "n_failed": 0,
        "reasons": {},
        "diffuser": {"n_scored": 4, "n_failed": 0},
        "loop": {"n_scored": 4, "n_failed": 0},
    }
    assert "judge" not in metrics
    for name, by_metric in scores.items():
        assert {metric: pytest.approx(np.mean(list(of.values()))) for metric, of in by_metric.items()} == metrics[name]
        assert all(set(of) == {graph.img_id for graph in GRAPHS} for of in by_metric.values())
    assert scores["loop"]["turns_used"] == {"scene-0": 0.0, "scene-1": 0.0, "scene-2": 0.0, "scene-3": 1.0}


def test_without_an_extractor_only_the_checker_measures():
    metrics, *_ = evaluate_models(DrawingModels(met=set()), GRAPHS, 1, Measures())
    assert metrics == {"diffuser": {"checker_reward": 0.0}, "loop": {"checker_reward": 1.0, "turns_used": 1.0}}


def test_images_that_stay_unscored_are_left_out_of_the_means_and_counted():
    one, half = SceneScores(1.0, 1.0, 1.0, 1.0), SceneScores(0.5, 0.5, 0.5, 0.5)
    gone = Unscored("no answer")
    extractor = ListedScores([one, half, gone, one, gone, half])
    judge = ListedScores([gone, 0.5, 1.0, 0.0, 1.0, 0.5])
    models = DrawingModels(met={"scene-0", "scene-1"})
    metrics, _, scores = evaluate_models(models, GRAPHS, 1, Measures(extractor, judge))
    assert (extractor.asked, judge.asked) == (6, 6)
    assert metrics["diffuser"]["sg_iou"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert metrics["diffuser"]["all_satisfied"] == pytest.approx(2 / 3)
    assert metrics["loop"]["sg_iou"] == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert metrics["diffuser"]["judge_score"] == pytest.approx((0.5 + 1.0 + 0.0) / 3)
    assert metrics["loop"]["judge_score"] == pytest.approx((0.5 + 1.0 + 0.5) / 3)
    assert scores["loop"]["sg_iou"] == {"scene-0": 1.0, "scene-1": 0.5, "scene-3": 0.5}
    assert scores["diffuser"]["judge_score"] == {"scene-1": 0.5, "scene-2": 1.0, "scene-3": 0.0}
    extraction = metrics["extraction"]
    assert (extraction["n_scored"], extraction["n_failed"], extraction["requests"]) == (4, 2, 6)
    assert extraction["reasons"] == {"no answer": 2}
    assert extraction["diffuser"] == extraction["loop"] == {"n_scored": 3, "n_failed": 1}
    assert metrics["judge"]["diffuser"] == {"n_scored": 3, "n_failed": 1}


def test_where_no_image_was_scored_there_is_no_mean():
    assert set(scene_metrics([Unscored("x")]).values()) == {None}
    assert scene_metrics([Unscored("x")]).keys() == scene_metrics([SceneScores(0, 0, 0, 0)]).keys()
    assert judge_metrics([Unscored("x")]) == {"judge_score": None}
    assert judge_metrics([0.0, Unscored("x")]) == {"judge_score": 0.0}


def test_a_reward_of_one_s_own_is_measured_on_the_same_images():
    def brightness(satisfaction, image, graph):
        assert len(satisfaction) == len(graph.requirements)
        return float("nan") if graph.img_id == "scene-0" else float(image.mean())

    models = DrawingModels(met={"scene-0", "scene-1", "scene-2"})
    metrics, episodes, scores = evaluate_models(models, GRAPHS, 1, Measures(), brightness)
    last = {e.graph.img_id: float(e.answer.image.mean()) for e in episodes if e.graph.img_id != "scene-0"}
    assert scores["loop"]["own_reward"] == last
    assert metrics["loop"]["own_reward"] == pytest.approx(np.mean(list(last.values())))
    assert scores["diffuser"]["own_reward"]["scene-1"] == float(SCENES[1].image.mean())


def test_only_a_reward_that_is_one_s_own_is_looked_up():
    assert own_reward("hard") is None
    assert own_reward("tests.measuring.test_evaluation:half")([0.5], np.zeros((2, 2, 3)), GRAPHS[0]) == 0.5


def half(satisfaction, image, graph):
    return 0.5


def test_each_kind_of_requirement_has_a_metric_of_its_own():
    results = [SceneScores(nan, 1.0, nan, 0.5, {"count": 0.5}), SceneScores(1.0, 1.0, 1.0, 1.0), Unscored("x")]
    assert scene_metrics(results) == {
        "sg_iou": 1.0,
        "entity_iou": 1.0,
        "relation_iou": 1.0,
        "satisfied": 0.75,
        "all_satisfied": 0.5,
        "satisfied_count": 0.5,
    }
    assert scene_metrics(results[:1])["sg_iou"] is None
    graph = replace(GRAPHS[0], others=(Count("star", 1), Count("circle", 2), Presence("square")))
    related = len(graph.related)
    frame = Frame(SCENES[0].image, [0.9] * related + [0.8, 0.4, 0.1])
    assert checker_metrics([(frame, graph)]) == {
        "checker_reward": pytest.approx((related + 1) / (related + 3)),
        "checker_count": 0.5,
        "checker_presence": 0.0,
        "checker_relation": 1.0,
    }
    assert set(checker_metrics([(Frame(frame.image, [1.0] * related), GRAPHS[0])])) == {"checker_reward"}
    assert metric_meaning("checker_count").endswith("of the kind 'count' alone")
