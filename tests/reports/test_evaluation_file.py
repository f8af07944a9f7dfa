"""The file of an evaluation: intervals around the means, paired where images are compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reports.evaluation_file import write_evaluation
from reports.tables import DIFFERENCE

PROMPTS = [f"prompt {number}" for number in range(40)]
FIRST = {prompt: (number % 5) / 4 for number, prompt in enumerate(PROMPTS)}
LAST = {prompt: value + 0.1 for prompt, value in FIRST.items()}


def test_the_file_holds_means_intervals_and_the_scores_of_single_prompts(tmp_path: Path) -> None:
    scores = {
        "diffuser": {"sg_iou": FIRST, "once": {"prompt 0": 1.0}},
        "loop": {"sg_iou": LAST, "turns_used": dict.fromkeys(PROMPTS, 2.0)},
    }
    metrics = {"diffuser": {"sg_iou": 0.5}, "loop": {"sg_iou": 0.6, "turns_used": 2.0}}
    file = tmp_path / "new" / "eval.json"
    written = write_evaluation(file, {"run": "runs/x", "turns": 2}, metrics, scores)
    read = json.loads(file.read_text())
    assert read == {**written, "scores": scores}
    assert (read["run"], read["turns"], read["metrics"]) == ("runs/x", 2, metrics)
    found = read["intervals"]
    assert found["diffuser"].keys() == {"sg_iou"}  # one prompt has no interval
    loop = found["loop"]["sg_iou"]
    assert loop["mean"] == pytest.approx(0.6)
    assert 0.48 < loop["low"] < 0.55 < 0.65 < loop["high"] < 0.72  # ± 1.96 × 0.354 / sqrt(40) = 0.11
    assert found[DIFFERENCE].keys() == {"sg_iou"}
    assert list(found[DIFFERENCE]["sg_iou"].values()) == pytest.approx([0.1, 0.1, 0.1])  # paired: it does not vary
    assert list(found["loop"]["turns_used"].values()) == pytest.approx([2.0, 2.0, 2.0])


def test_an_image_that_was_not_scored_is_left_out_of_the_pairs(tmp_path: Path) -> None:
    last = {prompt: LAST[prompt] for prompt in PROMPTS[:10]}
    scores = {"diffuser": {"sg_iou": FIRST}, "loop": {"sg_iou": last}}
    found = write_evaluation(tmp_path / "eval.json", {}, {}, scores)["intervals"]
    assert found[DIFFERENCE]["sg_iou"]["mean"] == pytest.approx(0.1)
