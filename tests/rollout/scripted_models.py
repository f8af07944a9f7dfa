"""Stand-ins for the four models in tests of the sampler's bookkeeping: what they answer is a function of the seeds."""

from __future__ import annotations

import zlib
from types import SimpleNamespace

import numpy as np

from actors.edit import Edit
from actors.flow_path import FlowOde, FlowPath
from rollout.trajectory import TurnSeconds
from scenes.dialogue import Reflection
from scenes.dialogues.dialogue import SHAPES
from serving.actor import ActorAnswer


def picture(value: int) -> np.ndarray:
    """A 64×64 picture that carries one number below 256."""
    return np.full((64, 64, 3), value, np.uint8)


class ScriptedModels:
    """An image is one grey value; requirement k holds where that value is above `threshold + k · spread`. An answer
    is one of four edit prompts, by its seed, and an edit follows from its prompt and its seed. Every call computes for
    as many seconds as `SECONDS` says. One answer of `unparsable_every` cannot be parsed, one of `cut_every` was cut
    off."""

    SECONDS = TurnSeconds(draw=1.0, reflect=2.0, edit=4.0, check=0.5)

    def __init__(
        self, threshold: int = 128, unparsable_every: int = 0, first: int = 10, spread: int = 0, cut_every: int = 0
    ) -> None:
        self.threshold, self.unparsable_every, self.first, self.spread = threshold, unparsable_every, first, spread
        self.cut_every = cut_every
        self.drawn: list[str] = []
        self.asked: list[tuple[int, list[int]]] = []
        self.edited: list[list[tuple[str, int]]] = []
        self.temperatures: list[float] = []
        self.diffuser = SimpleNamespace(draw=self._draw, compute_seconds=0.0)
        self.checker = SimpleNamespace(satisfaction=self._satisfaction, compute_seconds=0.0)
        self.actor = SimpleNamespace(reflect=self._reflect, compute_seconds=0.0, dialogue=SHAPES)
        self.editor = SimpleNamespace(edit=self._edit, compute_seconds=0.0)

    def _draw(self, prompts, seeds):
        self.diffuser.compute_seconds += self.SECONDS.draw
        self.drawn += prompts
        return [picture(self.first) for _ in prompts]

    def _satisfaction(self, images, requirements):
        self.checker.compute_seconds += self.SECONDS.check
        return [
            [float(image[0, 0, 0] > self.threshold + k * self.spread) for k, _ in enumerate(r)]
            for image, r in zip(images, requirements, strict=True)
        ]

    def _reflect(self, images, requests, temperature=0.0, seeds=None, n=1):
        self.actor.compute_seconds += self.SECONDS.reflect
        self.asked.append((len(requests), list(seeds)))
        self.temperatures.append(temperature)
        answers = []
        for k, seed in enumerate(seeds):
            broken = self.unparsable_every and k % self.unparsable_every == 0
            reflection = None if broken else Reflection("a left of b", f"move a {'abcd'[seed % 4]} of b")
            finished = not (self.cut_every and k % self.cut_every == 0)
            why = "no edit" if broken else None
            answers.append([ActorAnswer("x", [1, 2], [-0.5, -0.1], 3, reflection, why, why, finished)])
        return answers

    def _edit(self, images, prompts, seeds, sde=None, steps=None):
        self.editor.compute_seconds += self.SECONDS.edit
        self.edited.append(list(zip(prompts, seeds, strict=True)))
        path = FlowPath(np.zeros((2, 4, 2)), np.array([1.0, 0.5]), np.array([-1.0]), 0.7) if sde else None
        if isinstance(sde, FlowOde):
            path = FlowPath(np.zeros((1, 4, 2)), np.array([1.0, 0.5, 0.0]), np.zeros(0), 0.0)
        values = [
            zlib.crc32(f"{prompt}{seed}".encode()) % 240 + 16 for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        return [Edit(picture(value), path, 5) for value in values]


class Lottery(ScriptedModels):
    """Draws a grey value that follows from the seed alone; `drawn` are the seeds of each call."""

    def __init__(self, threshold: int) -> None:
        super().__init__(threshold, spread=40)
        self.drawn: list[list[int]] = []

    def _draw(self, prompts, seeds):
        self.drawn.append(list(seeds))
        return [picture(seed % 200) for seed in seeds]
