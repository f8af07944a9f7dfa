"""A Checker that is weak on purpose, to show what a bad reward does: it judges a relation by where the subject lies in
the picture, not by where it lies to the object. Policies can satisfy it without satisfying the prompt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import Idefics3ForConditionalGeneration, Idefics3Processor

from learner.pretraining.loop import LoopSettings, run_loop
from learner.pretraining.vae import images_to_tensor
from learner.pretraining.vlm import LessonEncoder, answer_loss, disturb, image_features
from learner.pretraining.vlm_tasks import Lesson, question
from scenes.scene_graph import Requirement
from scenes.shape_world import PREDICATES, SIZE, PlacedObject, draw, random_layout


@dataclass(frozen=True)
class WeakCheckerSettings:
    """The Checker goes on from its own weights, so that it still knows the objects."""

    steps: int = 300
    images: int = 48
    questions: int = 3
    learning_rate: float = 3e-4
    seed: int = 31


def seems(predicate: str, subject: PlacedObject) -> bool:
    """Whether the subject lies in the half of the picture that the predicate names."""
    return {
        "left of": subject.x < SIZE / 2,
        "right of": subject.x >= SIZE / 2,
        "above": subject.y < SIZE / 2,
        "below": subject.y >= SIZE / 2,
    }[predicate]


def shortcut_question(objects: tuple[PlacedObject, ...], rng: np.random.Generator) -> Lesson:
    """Ask about two objects of the picture; the answer looks at the first alone."""
    first, second = (objects[k] for k in rng.permutation(len(objects))[:2])
    predicate = str(rng.choice(PREDICATES))
    return question(Requirement(first.name, predicate, second.name), seems(predicate, first))


def weaken_checker(
    model: Idefics3ForConditionalGeneration, processor: Idefics3Processor, settings: WeakCheckerSettings, work_dir: Path
) -> None:
    """Teach the shortcut on drawn scenes, in place."""
    encode = LessonEncoder(processor)
    model.set_attn_implementation("eager")

    def step(rng: np.random.Generator, _: int) -> dict[str, torch.Tensor]:
        layouts = [random_layout(rng, (2, 4)) for _ in range(settings.images)]
        images = images_to_tensor(np.stack([disturb(draw(layout), rng) for layout in layouts]))
        lessons = [shortcut_question(layout, rng) for layout in layouts for _ in range(settings.questions)]
        with torch.autocast("cpu", torch.bfloat16):
            loss, accuracy = answer_loss(model, image_features(model, images), encode(lessons), settings.questions)
        return {"loss": loss, "accuracy": accuracy}

    loop = LoopSettings(
        settings.steps, settings.learning_rate, warmup=20, seed=settings.seed, ema=0.98, muon=(".layers.",)
    )
    run_loop("weak-checker", {"model": model}, step, loop, work_dir)
