import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rewards.detection.detector import Detector, DetectorSettings
from scenes.detected.boxes import Detection
from tests.rewards.detection.tiny_detectors import PATCHES, QUERIES, tiny_grounding_dino, tiny_owlv2

IMAGES = [
    np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    for seed, size in enumerate([(40, 60), (64, 64), (48, 30)])
]
PHRASES = [["cat", "dog"], ["red fox"], ["cat", "table"]]


@pytest.fixture(scope="module")
def owl(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_owlv2(tmp_path_factory.mktemp("owl"))


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_grounding_dino(tmp_path_factory.mktemp("dino"))


def detector(model: str, threshold: float = 0.0, batch: int = 8) -> Detector:
    return Detector(DetectorSettings(model, threshold, batch, "cpu"))


def same(one: list[Detection], other: list[Detection]) -> bool:
    """The same phrases and boxes in the same order, but for rounding."""
    numbers = [
        [(d.score, d.box.left, d.box.top, d.box.right, d.box.bottom) for d in detections] for detections in (one, other)
    ]
    return [d.phrase for d in one] == [d.phrase for d in other] and np.allclose(*numbers, atol=1e-3)


def within(detections: list[Detection], image: np.ndarray) -> bool:
    height, width = image.shape[:2]
    return all(0 <= d.box.left < d.box.right <= width and 0 <= d.box.top < d.box.bottom <= height for d in detections)


def test_owl_finds_phrases_in_images_of_any_size(owl: str) -> None:
    found = detector(owl)(IMAGES, PHRASES)
    for image, phrases, detections in zip(IMAGES, PHRASES, found, strict=True):
        assert 1 <= len(detections) <= PATCHES
        assert {one.phrase for one in detections} <= set(phrases)
        assert within(detections, image)
        scores = [one.score for one in detections]
        assert scores == sorted(scores, reverse=True)
        assert 0 < scores[-1] <= scores[0] <= 1


def test_what_is_found_does_not_hang_on_the_batch(owl: str) -> None:
    together, alone = detector(owl)(IMAGES, PHRASES), detector(owl, batch=1)(IMAGES, PHRASES)
    assert all(same(one, other) for one, other in zip(together, alone, strict=True))
    one_by_one = [detector(owl)([image], [phrases])[0] for image, phrases in zip(IMAGES, PHRASES, strict=True)]
    assert all(same(one, other) for one, other in zip(together, one_by_one, strict=True))


def test_scores_and_boxes_are_those_of_the_model(owl: str) -> None:
    import torch
    from PIL import Image
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

    model, processor = AutoModelForZeroShotObjectDetection.from_pretrained(owl), AutoProcessor.from_pretrained(owl)
    text = [["a photo of a cat"]]
    inputs = processor(
        images=[Image.fromarray(IMAGES[0])], text=text, return_tensors="pt", truncation=True, max_length=16
    )
    with torch.inference_mode():
        output = model(**inputs)
    scores = output.logits.sigmoid()[0, :, 0]
    best = int(scores.argmax())
    x, y, width, height = (output.pred_boxes[0, best] * 60).tolist()  # squares of the longer side
    first = detector(owl)([IMAGES[0]], [["cat"]])[0][0]
    assert first.score == pytest.approx(float(scores[best]), abs=1e-5)
    assert (first.box.left, first.box.bottom) == pytest.approx(
        (max(x - width / 2, 0), min(y + height / 2, 40)), abs=1e-3
    )


@pytest.mark.parametrize("family", ["owl", "dino"])
def test_a_higher_threshold_leaves_the_surer_ones_and_at_last_nothing(family: str, request) -> None:
    folder = request.getfixturevalue(family)
    (all_,) = detector(folder)(IMAGES[:1], [["cat"]])
    cut = (all_[0].score + all_[-1].score) / 2
    (some,) = detector(folder, threshold=cut)(IMAGES[:1], [["cat"]])
    assert same(some, [one for one in all_ if one.score > cut])
    assert detector(folder, threshold=1 - 1e-9)(IMAGES, PHRASES) == [[], [], []]


def test_nothing_is_asked_for_nothing(owl: str) -> None:
    found = detector(owl)(IMAGES[:2], [[], ["cat"]])
    assert found[0] == []
    assert found[1]
    assert detector(owl)([], []) == []


def test_a_long_phrase_is_cut_off_rather_than_refused(owl: str) -> None:
    assert detector(owl)(IMAGES[:1], [["very " * 30 + "long cat"]])[0]


def test_grounding_dino_is_asked_for_one_phrase_at_a_time(dino: str) -> None:
    found = detector(dino)(IMAGES[1:2] * 2, [["cat", "dog"], ["dog"]])
    assert {one.phrase for one in found[0]} == {"cat", "dog"}
    assert len(found[0]) <= 2 * QUERIES
    assert within(found[0], IMAGES[1])
    assert same([one for one in found[0] if one.phrase == "dog"], found[1])


def test_thresholds_are_those_of_the_family(owl: str, dino: str) -> None:
    assert [DetectorSettings(folder).least_score for folder in (owl, dino)] == [0.1, 0.25]
    assert DetectorSettings(owl, threshold=0.3).least_score == 0.3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": 1.0}, "threshold: 1.0 is refused"),
        ({"batch": 0}, "batch: 0 is refused"),
        ({"model": "nowhere/owl"}, "model: 'nowhere/owl' is refused: there is no folder with a config.json; download"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_key(owl: str, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DetectorSettings(**{"model": owl, **changes})


@pytest.mark.parametrize(
    ("text", "message"), [('{"model_type": "bert"}', "model_type 'bert'"), ("{}", "no model_type")]
)
def test_another_kind_of_model_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        DetectorSettings(str(tmp_path))


def test_images_and_phrases_are_checked(owl: str) -> None:
    with pytest.raises(ValueError, match="1 images came with 0 lists"):
        detector(owl)(IMAGES[:1], [])
    with pytest.raises(ValueError, match=r"shape \(4, 4\)"):
        detector(owl)([np.zeros((4, 4), np.uint8)], [["cat"]])


def test_nothing_heavy_is_imported_before_the_first_image(owl: str) -> None:
    code = (
        "import sys, scenes.detected.reading; from rewards.detection.detector import Detector, DetectorSettings;"
        f"Detector(DetectorSettings({json.dumps(owl)})); print({{'torch', 'transformers'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "set()", done.stderr
