from __future__ import annotations

import numpy as np
import pytest

from experiments.outcomes import FirstImages, best_of, first_images, images_for, only_first, run_loop
from rollout.state import State
from scenes.dialogues.dialogue import SHAPES
from scenes.scene_graph import parse_prompt
from scenes.shape_world import PREDICATES

GRAPHS = [parse_prompt(f"{c} circle left of blue square", PREDICATES, img_id=c) for c in ("red", "green")]


class Model:
    """Counts a second for each call."""

    compute_seconds = 0.0


class Draws(Model):
    """Images that hold their seed, so that a test sees which one was taken."""

    def draw(self, prompts: list[str], seeds: list[int]) -> list[np.ndarray]:
        self.compute_seconds += 1.0
        return [np.full((64, 64, 3), seed % 251, np.uint8) for seed in seeds]


class Sees(Model):
    """Says yes to dark images."""

    def satisfaction(self, images: list[np.ndarray], requirements: list) -> list[list[float]]:
        self.compute_seconds += 1.0
        return [[1 - image[0, 0, 0] / 256 for _ in wanted] for image, wanted in zip(images, requirements, strict=True)]


class Reflects(Model):
    dialogue = SHAPES


class Loop:
    diffuser, checker, editor, actor = Draws(), Sees(), Model(), Reflects()


def test_best_of_takes_the_image_with_the_highest_reward() -> None:
    first = first_images(Loop(), GRAPHS)
    best = best_of(Loop(), first, 6)
    rounds = [first] + [first_images(Loop(), GRAPHS, draw) for draw in range(1, 6)]
    for k, frame in enumerate(best.frames):
        assert frame.image[0, 0, 0] == min(one.states[k].image[0, 0, 0] for one in rounds)
        assert frame.image[0, 0, 0] <= first.states[k].image[0, 0, 0]
    assert len({int(one.states[0].image[0, 0, 0]) for one in rounds}) > 1
    assert best.turns == [0, 0]
    assert best.seconds == 6 * first.seconds_each == 6.0  # a draw and a check for each round, shared by two prompts


def test_best_of_never_gets_less_compute_than_the_loop() -> None:
    assert [images_for(budget, 0.5) for budget in (0.1, 1.0, 1.01, 2.0)] == [2, 2, 3, 4]


def test_the_loop_keeps_what_the_checker_accepts() -> None:
    images = [np.zeros((64, 64, 3), np.uint8)] * 2
    first = FirstImages(GRAPHS, [State(g, i, [0.9], 1) for g, i in zip(GRAPHS, images, strict=True)], 4.0)
    outcome = run_loop(Loop(), first, turns=2)
    assert outcome.turns == [0, 0]
    assert outcome.seconds == pytest.approx(2.0)
    assert only_first(first).seconds == 2.0
