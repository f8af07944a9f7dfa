"""Adapt the Checker to generated pictures: the pipeline's own drawings and edits, with the extractor's truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import Idefics3ForConditionalGeneration, Idefics3Processor

from actors.flux_model import FluxModel
from learner.pretraining.flux_model import DRAWING_STEPS, EDITING_STEPS
from learner.pretraining.loop import LoopSettings, run_loop
from learner.pretraining.vae import images_to_tensor
from learner.pretraining.vlm import LessonEncoder, answer_loss, disturb, image_features
from learner.pretraining.vlm_tasks import Lesson, question, random_question
from scenes.dialogue import edit_prompt
from scenes.extractors import Extraction, extract, satisfied
from scenes.scene_graph import Requirement, SceneGraph
from scenes.shape_world import INVERSE, PREDICATES, draw, sample_layout, sample_scene


@dataclass(frozen=True)
class AdaptationSettings:
    """`pictures` are generated from training combinations: half of them drawings, half edits of these drawings."""

    steps: int = 400
    pictures: int = 2048
    images: int = 48
    questions: int = 3
    learning_rate: float = 3e-4
    seed: int = 5


def generated_pictures(flux: FluxModel, count: int, seed: int) -> list[tuple[SceneGraph, np.ndarray]]:
    """`count` pictures with the graphs that they were drawn for: drawings, then one random edit of each."""
    rng = np.random.default_rng([seed, 11])
    graphs = [sample_scene(rng, "train", (1, 3)).graph for _ in range(count // 2)]
    seeds = [int(s) for s in rng.integers(0, 2**32, len(graphs))]
    drawings = flux.draw([graph.prompt for graph in graphs], seeds, DRAWING_STEPS)
    prompts = []
    for graph in graphs:
        a, b = rng.permutation(len(graph.names))[:2]
        prompts.append(edit_prompt(graph.names[a], str(rng.choice(PREDICATES)), graph.names[b]))
    edits = [edit.image for edit in flux.edit(drawings, prompts, seeds, steps=EDITING_STEPS)]
    return list(zip(graphs * 2, drawings + edits, strict=True))


def picture_question(graph: SceneGraph, extraction: Extraction, rng: np.random.Generator) -> Lesson:
    """Ask for a requirement of the picture's graph, its inverse, or a random relation of its names."""
    names = graph.names
    kind = rng.random()
    if kind < 0.5:
        wanted = graph.related[rng.integers(len(graph.related))]
        if kind < 0.2:
            wanted = Requirement(wanted.subject, INVERSE[wanted.predicate], wanted.object)
    else:
        a, b = rng.permutation(len(names))[:2]
        wanted = Requirement(names[a], str(rng.choice(PREDICATES)), names[b])
    return question(wanted, satisfied(wanted, extraction))


def adapt_checker(
    model: Idefics3ForConditionalGeneration,
    processor: Idefics3Processor,
    flux: FluxModel,
    settings: AdaptationSettings,
    work_dir: Path,
) -> None:
    """Train on generated pictures, and on drawn scenes in every third place, in place."""
    encode = LessonEncoder(processor)
    model.set_attn_implementation("eager")
    pictures = generated_pictures(flux, settings.pictures, settings.seed)
    extractions = [extract(image) for _, image in pictures]

    def step(rng: np.random.Generator, _: int) -> dict[str, torch.Tensor]:
        images, lessons = [], []
        for place in range(settings.images):
            if place % 3 == 2:
                scene = sample_scene(rng, "train", (1, 3))
                layout = sample_layout([(o.colour, o.shape) for o in scene.objects], rng)
                images.append(disturb(draw(layout), rng))
                lessons += [random_question(layout, rng) for _ in range(settings.questions)]
            else:
                index = int(rng.integers(len(pictures)))
                graph, image = pictures[index]
                images.append(image)
                lessons += [picture_question(graph, extractions[index], rng) for _ in range(settings.questions)]
        with torch.autocast("cpu", torch.bfloat16):
            features = image_features(model, images_to_tensor(np.stack(images)))
            loss, accuracy = answer_loss(model, features, encode(lessons), settings.questions)
        return {"loss": loss, "accuracy": accuracy}

    loop = LoopSettings(settings.steps, settings.learning_rate, warmup=20, seed=settings.seed, ema=0.98)
    run_loop("checker-adapted", {"model": model}, step, loop, work_dir)
