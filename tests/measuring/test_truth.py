"""Held-out images are measured by what `data.truth` names; an extractor of the command line comes first."""

import json
from pathlib import Path

import numpy as np
import pytest

from measuring.detector_extraction import DetectorExtractor
from measuring.measures import MeasureOptions, Measures
from measuring.truth import measures_for, truth_measures
from measuring.vlm_judge import VlmJudge
from presets.errors import BadInput
from presets.run_config import RunConfig
from presets.run_file import load_config
from scenes.scene_graph import Item, Relation, SceneGraph
from scenes.scene_graph_iou import SceneScores
from tests.places import PRESET, ROOT
from tests.rewards.detection.tiny_detectors import tiny_owlv2

RECORDS = ROOT / "tests" / "data" / "laion_sg_example.json"
ENDPOINT = {"base_url": "http://127.0.0.1:9/v1", "model": "judge", "api_key_env": ""}


def run(truth: str, entry: dict[str, object]) -> RunConfig:
    entries = [{"scorer": "checker"}, {"weight": 0, "required": False, **entry}]
    data = ["data.source=laion_sg", f"data.path={RECORDS}", f"data.truth={truth}"]
    return load_config(PRESET, [*data, f"rewards={json.dumps(entries)}"])


def test_the_detector_of_the_run_scores_held_out_images(tmp_path: Path) -> None:
    """A random one finds what it finds: each score is a share, and the report names the model and what was asked."""
    options = {"model": tiny_owlv2(tmp_path), "threshold": 0.0, "device": "cuda"}
    measures = truth_measures(run("detector", {"scorer": "detector", "options": options}))
    graph = SceneGraph("one", (Item(0, "cat"), Item(1, "dog")), (Relation(0, "left of", 1),))
    assert isinstance(measures.extractor, DetectorExtractor)
    (score,) = measures.extractor.score([graph], [np.full((48, 48, 3), 90, np.uint8)])
    assert isinstance(score, SceneScores)
    assert score.entity_iou >= 0.5  # with the threshold 0 something is found in every patch
    report = measures.extractor.report()
    assert (report["model"], report["threshold"], report["requirements"]) == (str(tmp_path), 0.0, 1)


def test_the_vlm_of_the_run_is_asked_for_each_requirement_and_probed_before() -> None:
    measures = truth_measures(run("vlm", {"scorer": "vlm_judge", "endpoint": ENDPOINT}))
    assert isinstance(measures.judge, VlmJudge)
    assert measures.extractor is None
    assert [one.config.model for one in measures.endpoints] == ["judge"]


def test_options_of_the_command_line_come_before_the_truth_of_the_run(tmp_path: Path) -> None:
    config = run("detector", {"scorer": "detector", "options": {"model": tiny_owlv2(tmp_path)}})
    asked = MeasureOptions(judge_model="other", base_url=ENDPOINT["base_url"], api_key_env="")
    judged = measures_for(asked, config)
    assert isinstance(judged.extractor, DetectorExtractor)
    assert [one.config.model for one in judged.endpoints] == ["other"]
    named = measures_for(MeasureOptions("openai", extractor_model="vlm", base_url=ENDPOINT["base_url"]), config)
    assert not isinstance(named.extractor, DetectorExtractor)
    assert isinstance(measures_for(MeasureOptions(), config).extractor, DetectorExtractor)
    assert (
        measures_for(MeasureOptions(), load_config(PRESET, ["data.source=laion_sg", f"data.path={RECORDS}"]))
        == Measures()
    )


def test_a_detector_that_is_not_there_is_named() -> None:
    config = run("detector", {"scorer": "detector", "options": {"model": "/nowhere"}})
    with pytest.raises(BadInput, match=r"rewards, entry 'detector': .*model: '/nowhere' is refused"):
        truth_measures(config)
