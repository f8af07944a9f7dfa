"""A reward that ruins pictures is flagged by the truth that no reward uses, and the watched scorers say what happened.

The policy is a stand-in that does more of what is rewarded from update to update. What follows is what a run does:
scorers, the parts of the reward, the lines of `metrics.jsonl`, the trend.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from measuring.reward_gap import Trend, trends
from presets.run_file import load_config
from presets.truth.source import truth_source
from reports.reading.metrics import checked
from rewards.detection.reader import DetectorReader
from rewards.numbers import describe_parts
from rewards.reward import Reward
from rewards.scorers.detector import DetectorScorer
from rewards.truth import truth_of_update
from rollout.groups.batches import describe
from scenes.png import Picture
from scenes.shape_world import sample_scene
from tests.places import PRESET
from tests.rewards.turns import turn as scored_turn
from tests.rollout.test_trajectory import example
from tests.scenes.detected.seen import find_shapes

UPDATES, MEMBERS = 8, 4
SCENES = [sample_scene(np.random.default_rng(seed), img_id=str(seed), relations=(2, 2)) for seed in range(6)]


def washed_out(image: np.ndarray, much: float, rng: np.random.Generator) -> np.ndarray:
    """An edit that whitens the picture: what a reward for brightness asks for."""
    white = np.clip(much + rng.normal(0, 0.03), 0, 1)
    return np.clip(image + (255.0 - image) * white, 0, 255).astype(np.uint8)


def moved(image: np.ndarray, much: float, rng: np.random.Generator) -> np.ndarray:
    """An edit that leaves the picture as it is, however far the training is."""
    return image.copy()


def trained(folder: Path, edit: Any) -> list[Trend]:
    """The trends of a run that is rewarded for bright pictures, with a detector as its truth."""
    folder.joinpath("config.json").write_text('{"model_type": "owlv2"}')
    watched = [{"scorer": name, "weight": 0, "required": False} for name in ("preservation", "sharpness")]
    entries = [
        {"scorer": "tests.measuring.test_flagged_run:bright", "name": "bright"},
        {"scorer": "detector", "weight": 0, "required": False, "options": {"model": str(folder)}},
        *watched,
    ]
    config = load_config(PRESET, ["data.truth=detector", f"rewards={json.dumps(entries)}"])
    reward = Reward(config.rollout, config.rewards)
    reward._here["detector"] = DetectorScorer(DetectorReader("shapes", rule="visor", find=find_shapes))
    rng, lines = np.random.default_rng(0), []
    for update in range(UPDATES):
        rows = []
        for group, scene in enumerate(SCENES):
            told = [
                scored_turn(
                    group=group,
                    stage="editor",
                    graph=scene.graph,
                    source=scene.image,
                    image=edit(scene.image, update / UPDATES, rng),
                )
                for _ in range(MEMBERS)
            ]
            worths = reward.worth("editor", told)
            rows += [
                example(
                    stage="editor",
                    prompt=group,
                    group=group,
                    member=member,
                    image_after=Picture(one.image),
                    reward=worth.reward,
                    reward_parts=list(worth.parts),
                )
                for member, (one, worth) in enumerate(zip(told, worths, strict=True))
            ]
        record = {"update": update, "stage": "editor", **describe(rows), **describe_parts(rows, config.rewards)}
        lines.append(json.dumps({**record, **truth_of_update(rows, truth_source(config))}).encode())
    read, faults = checked(lines)
    assert not faults
    assert len(read) == UPDATES
    return trends(read)


def bright(turns: Any) -> list[float]:
    """How bright the edited pictures are, 0 to 1."""
    return [float(one.image.mean() / 255) for one in turns]


def test_a_reward_that_ruins_the_picture_is_flagged_with_what_it_ruined(tmp_path: Path) -> None:
    (found,) = trained(tmp_path, washed_out)
    assert found.gamed
    assert found.truth_rise < -0.3
    assert found.watched["sharpness"] < -0.3
    assert found.watched.keys() == {"preservation", "sharpness"}
    assert "the editor games its reward: over 8 editor updates the reward (bright) changed by +" in found.text
    assert f"the truth (detector) by {found.truth_rise:+.3f}, preservation by " in found.text


def test_the_same_run_with_edits_that_ruin_nothing_is_not_flagged(tmp_path: Path) -> None:
    (found,) = trained(tmp_path, moved)
    assert not found.gamed
    assert found.truth_rise == pytest.approx(0, abs=0.02)
