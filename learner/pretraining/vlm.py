"""Train the small VLMs: the Checker from scratch, the Actor from the Checker's weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from transformers import Idefics3ForConditionalGeneration, Idefics3Processor

from learner.pretraining.loop import LoopSettings, run_loop
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
from scenes.dialogue import YES
from scenes.shape_world import COLOURS, SHAPES, draw, sample_layout

IGNORED = -100


@dataclass(frozen=True)
class CheckerSettings:
    """`existence` of the `questions` about each image ask for one object only, the others for a relation.

    `naming_until`: after this fraction of the steps the naming task, which breaks the plateau, is dropped."""

    steps: int = 6000
    images: int = 40
    questions: int = 4
    existence: int = 2
    naming_until: float = 1.0
    seed: int = 1


@dataclass(frozen=True)
class ActorSettings:
    """`habit`: how often the teacher repeats the first requirement instead of choosing the best move.

    A perfect Actor would leave nothing to learn (DESIGN §6); a habit above ½ makes its greedy answer improvable too.
    """

    steps: int = 700
    images: int = 64
    habit: float = 0.6
    learning_rate: float = 5e-4
    seed: int = 2


class LessonEncoder:
    """Turns lessons into padded id tensors, in the token layout of the processor and its chat template.

    With `learn_true_requests`, questions whose answer is yes are learnt as text as well: what follows `red` in a true
    question is the shape of the red object, which is what an answer has to compare.
    """

    def __init__(self, processor: Idefics3Processor, learn_true_requests: bool = False) -> None:
        self.learn_true_requests = learn_true_requests
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
            if self.learn_true_requests and lessons[k].answer == YES:
                labels[k, len(self.head) : len(prompt)] = torch.tensor(prompt[len(self.head) :])
        return ids, labels, (torch.arange(length)[None] < (torch.tensor([len(p) + len(a) for p, a in rows]))[:, None])


def answer_loss(
    model: Idefics3ForConditionalGeneration, images: torch.Tensor, encoded: tuple[torch.Tensor, ...], repeat: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cross-entropy over labels, and accuracy of the token before the end; `repeat` lessons share each image."""
    ids, labels, mask = encoded
    features = model.get_image_features(images[:, None], return_dict=True)
    features.pooler_output = features.pooler_output.repeat_interleave(repeat, dim=0)
    logits = model(
        input_ids=ids, attention_mask=mask.long(), mm_encoder_outputs={"image": features}, use_cache=False
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
    encode = LessonEncoder(processor, learn_true_requests=True)
    model.set_attn_implementation("eager")  # the backward pass of fused attention is several times slower on CPU

    def step(rng: np.random.Generator, number: int) -> dict[str, torch.Tensor]:
        layouts = []
        for _ in range(settings.images):
            colours = rng.permutation(list(COLOURS))[: rng.integers(2, 5)]
            layouts.append(sample_layout([(str(c), str(rng.choice(SHAPES))) for c in colours], rng))
        images = images_to_tensor(np.stack([disturb(draw(layout), rng) for layout in layouts]))
        questions = [
            existence_question(layout, rng) if k < settings.existence else random_question(layout, rng)
            for layout in layouts
            for k in range(settings.questions)
        ]
        with torch.autocast("cpu", torch.bfloat16):
            asked, accuracy = answer_loss(model, images, encode(questions), settings.questions)
            results = {"loss": asked, "accuracy": accuracy}
            if number < settings.naming_until * settings.steps:
                named, _ = answer_loss(model, images, encode([naming(layout) for layout in layouts]), 1)
                results |= {"loss": asked + named, "naming": named.detach()}
        return results

    loop = LoopSettings(settings.steps, learning_rate=1e-3, seed=settings.seed, ema=0.99)
    run_loop("checker", {"model": model}, step, loop, work_dir)


def train_actor(
    model: Idefics3ForConditionalGeneration, processor: Idefics3Processor, settings: ActorSettings, work_dir: Path
) -> None:
    """Teach reflections and edit prompts on drawn scenes with unmet requirements, in place."""
    encode = LessonEncoder(processor)
    model.set_attn_implementation("eager")

    def step(rng: np.random.Generator, _: int) -> dict[str, torch.Tensor]:
        states = [imperfect_state(rng, "train", (1, 5)) for _ in range(settings.images)]
        images = images_to_tensor(np.stack([disturb(draw(layout), rng) for _, layout in states]))
        lessons = [reflection_lesson(graph, layout, rng, settings.habit) for graph, layout in states]
        with torch.autocast("cpu", torch.bfloat16):
            loss, accuracy = answer_loss(model, images, encode(lessons), 1)
        return {"loss": loss, "accuracy": accuracy}

    loop = LoopSettings(settings.steps, learning_rate=settings.learning_rate, seed=settings.seed, ema=0.98)
    run_loop("actor", {"model": model}, step, loop, work_dir)
