"""Held-out episodes as an evaluation leaves them in a run's folder, made from drawn scenes, for tests of readers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reports.episode_folder import write_episode
from reports.held_out import write_held_out
from rollout.state import Episode, Frame
from scenes.shape_world import DrawnScene, sample_scene


def scenes(count: int) -> list[DrawnScene]:
    """Scenes with two or three relations, the same in every call."""
    rng = np.random.default_rng(5)
    return [sample_scene(rng, "train", (2, 3), img_id=f"held-out-{k}") for k in range(count)]


def write_evaluation(run: Path, name: str, checked: Sequence[bool], exact: Sequence[bool] | None = None) -> None:
    """Write one episode a prompt: a grey first image in which nothing holds, then an edit that draws the scene.

    Args:
        checked: for each prompt, whether the Checker finds every requirement met in the edited image.
        exact: the same of the exact extractor, for the held-out scores; None writes no scores.
    """
    found = scenes(len(checked))
    for number, (scene, holds) in enumerate(zip(found, checked, strict=True)):
        asked = len(scene.graph.requirements)
        first = Frame(np.full_like(scene.image, 40), [0.25] * asked, seed=1)
        after = [0.75] * (asked - 1) + [0.75 if holds else 0.125]
        edit = Frame(scene.image, after, "asked", "answer", "it is right of", "move it", 2)
        write_episode(Episode(scene.graph, [first, edit]), run / "episodes" / name / f"{number:02}")
    if exact is not None:
        ids = [scene.graph.img_id for scene in found]
        scores = {
            "diffuser": {"all_satisfied": dict.fromkeys(ids, 0.0)},
            "loop": {"all_satisfied": {one: float(holds) for one, holds in zip(ids, exact, strict=True)}},
        }
        write_held_out(scores, run / "held_out" / f"{name}.parquet")
