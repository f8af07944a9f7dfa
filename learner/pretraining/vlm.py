"""Train the small VLMs: the Checker from scratch, the Actor from the Checker's weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from transformers import Idefics3ForConditionalGeneration, Idefics3Processor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from learner.pretraining.cells import CellNaming, cell_labels
from learner.pretraining.loop import LoopSettings, StepFunction, run_loop
from learner.pretraining.vae import images_to_tensor
from learner.pretraining.vlm_model import IMAGE_TOKENS
from learner.pretraining.vlm_tasks import (
    Lesson,
    existence_question,
    imperfect_state,
    naming,
    random_question,
    reflection_lesson,
)
from learner.pretraining.vocabulary import ASSISTANT, END, FAKE_IMAGE, GLOBAL_IMAGE, IMAGE, USER
from scenes.shape_world import draw, random_layout

IGNORED = -100


@dataclass(frozen=True)
class CheckerSettings:
    """`existence` of the `questions` about each image ask for one object only, the others for a relation. The weights
    `naming` and `cells` are those of two helping tasks: to name all objects, and to name what each cell shows."""

    steps: int = 2200
    images: int = 40
    questions: int = 4
    existence: int = 1
    naming: float = 0.3
    cells: float = 0.3
    seed: int = 1


@dataclass(frozen=True)
class ActorSettings:
    """`steps` of the best moves, then `habit_steps` in which the teacher, as often as `habit` says, repeats the first
    requirement instead.

    A perfect Actor would leave nothing to learn (DESIGN §6). The habit is what reinforcement learning has to unlearn;
    what it then finds is the skill of the steps before.
    """

    steps: int = 3400
    images: int = 64
    learning_rate: float = 1e-3
    habit: float = 0.5
    habit_steps: int = 150
    habit_learning_rate: float = 3e-4
    seed: int = 2


class LessonEncoder:
    """Turns lessons into padded id tensors, in the token layout of the processor and its chat template."""

    def __init__(self, processor: Idefics3Processor) -> None:
        self.tokenizer = processor.tokenizer
        head = [USER, FAKE_IMAGE, GLOBAL_IMAGE, *[IMAGE] * IMAGE_TOKENS, FAKE_IMAGE]
        self.head = self.tokenizer.convert_tokens_to_ids(head)
        self.turn = self.tokenizer.convert_tokens_to_ids([END, ASSISTANT])
        self.end = self.tokenizer.convert_tokens_to_ids(END)

    def __call__(self, lessons: list[Lesson]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Ids, labels (−100 outside answers) and attention mask, each (B, L)."""
        requests = self.tokenizer([lesson.request for lesson in lessons], add_special_tokens=False).input_ids
        answers = self.tokenizer([lesson.answer for lesson in lessons], add_special_tokens=False).input_ids
        rows = [(self.head + r + self.turn, [*a, self.end]) for r, a in zip(requests, answers, strict=True)]
        length = max(len(prompt) + len(answer) for prompt, answer in rows)
        ids = torch.full((len(rows), length), self.tokenizer.pad_token_id)
        labels = torch.full((len(rows), length), IGNORED)
        for k, (prompt, answer) in enumerate(rows):
            total = len(prompt) + len(answer)
            ids[k, :total] = torch.tensor(prompt + answer)
            labels[k, len(prompt) : total] = torch.tensor(answer)
        return ids, labels, (torch.arange(length)[None] < (torch.tensor([len(p) + len(a) for p, a in rows]))[:, None])


def image_features(model: Idefics3ForConditionalGeneration, images: torch.Tensor) -> BaseModelOutputWithPooling:
    """Of images (B, 3, 64, 64): the vision tower's patches (B, 64, width), and `pooler_output`, which the text model
    reads (B, 16, width)."""
    return model.get_image_features(images[:, None], return_dict=True)


def answer_loss(
    model: Idefics3ForConditionalGeneration,
    features: BaseModelOutputWithPooling,
    encoded: tuple[torch.Tensor, ...],
    repeat: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cross-entropy over labels, and accuracy of the token before the end; `repeat` lessons share each image."""
    ids, labels, mask = encoded
    read = BaseModelOutputWithPooling(pooler_output=features.pooler_output.repeat_interleave(repeat, dim=0))
    logits = model(
        input_ids=ids, attention_mask=mask.long(), mm_encoder_outputs={"image": read}, use_cache=False
    ).logits
    targets = labels[:, 1:]
    logits = logits[:, :-1].float()
    loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), ignore_index=IGNORED)
    rows, last = torch.arange(len(ids)), mask.sum(dim=1) - 3  # the answer's last word predicts the end token
    return loss, (logits[rows, last].argmax(-1) == targets[rows, last]).float().mean()


def disturb(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur and noise of random strength, so that a VLM does not depend on perfect edges. uint8 in and out."""
    if rng.random() < 0.5:
        image = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 0.8)))))
    noise = rng.normal(0, rng.uniform(0, 6), image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def train_checker(
    model: Idefics3ForConditionalGeneration, processor: Idefics3Processor, settings: CheckerSettings, work_dir: Path
) -> None:
    """Teach naming and yes/no questions on drawn scenes, in place."""
    encode = LessonEncoder(processor)
    cells = CellNaming(model.config.vision_config.hidden_size)
    model.set_attn_implementation("eager")  # the backward pass of fused attention is several times slower on CPU

    def step(rng: np.random.Generator, _: int) -> dict[str, torch.Tensor]:
        layouts = [random_layout(rng, (2, 4)) for _ in range(settings.images)]
        images = images_to_tensor(np.stack([disturb(draw(layout), rng) for layout in layouts]))
        questions = [
            existence_question(layout, rng) if k < settings.existence else random_question(layout, rng)
            for layout in layouts
            for k in range(settings.questions)
        ]
        shown = torch.from_numpy(np.stack([cell_labels(layout) for layout in layouts]))
        with torch.autocast("cpu", torch.bfloat16):
            features = image_features(model, images)
            asked, accuracy = answer_loss(model, features, encode(questions), settings.questions)
            named = answer_loss(model, features, encode([naming(layout) for layout in layouts]), 1)[0]
        seen = cells.loss(features.last_hidden_state, shown)
        loss = asked + settings.naming * named + settings.cells * seen
        return {"loss": loss, "accuracy": accuracy} | {
            key: value.detach() for key, value in (("asked", asked), ("naming", named), ("cells", seen))
        }

    loop = LoopSettings(settings.steps, learning_rate=1e-3, seed=settings.seed, ema=0.99, muon=(".layers.",))
    run_loop("checker", {"model": model, "cells": cells}, step, loop, work_dir)


def train_actor(
    model: Idefics3ForConditionalGeneration, processor: Idefics3Processor, settings: ActorSettings, work_dir: Path
) -> None:
    """Teach reflections and edit prompts on drawn scenes with unmet requirements, in place."""
    encode = LessonEncoder(processor)
    model.set_attn_implementation("eager")

    def lessons_with(habit: float) -> StepFunction:
        def step(rng: np.random.Generator, _: int) -> dict[str, torch.Tensor]:
            states = [imperfect_state(rng, "train", (1, 5)) for _ in range(settings.images)]
            images = images_to_tensor(np.stack([disturb(draw(layout), rng) for _, layout in states]))
            lessons = [reflection_lesson(graph, layout, rng, habit) for graph, layout in states]
            with torch.autocast("cpu", torch.bfloat16):
                loss, accuracy = answer_loss(model, image_features(model, images), encode(lessons), 1)
            return {"loss": loss, "accuracy": accuracy}

        return step

    for name, habit, steps, rate in (
        ("actor", 0.0, settings.steps, settings.learning_rate),
        ("actor-habit", settings.habit, settings.habit_steps, settings.habit_learning_rate),
    ):
        loop = LoopSettings(steps, learning_rate=rate, seed=settings.seed, ema=0.98, muon=(".layers.",))
        run_loop(name, {"model": model}, lessons_with(habit), loop, work_dir)
