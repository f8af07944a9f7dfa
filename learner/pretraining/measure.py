"""What the small models can do, on held-out combinations, measured by the exact extractor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from actors.flux_model import FluxModel
from learner.pretraining.flux_model import DRAWING_STEPS, EDITING_STEPS
from learner.pretraining.moves import Move
from learner.pretraining.vlm_tasks import execute, gain
from scenes.calibration import expected_calibration_error
from scenes.dialogue import actor_request, edit_prompt, read_move
from scenes.extractors import Extraction, extract, satisfied
from scenes.scene_graph import SceneGraph
from scenes.scene_graph_iou import mean_scores, score
from scenes.shape_world import PREDICATES, DrawnScene, holds, sample_graphs, sample_scene
from serving.actor import Actor
from serving.checker import Checker
from serving.config import VlmConfig
from serving.local.vlm import LocalVlm

KEPT_WITHIN = 3.0  # pixels
RELATIONS = (2, 3)
_ANSWER_TOKENS = 24
_SAMPLES = 8  # of one state


@dataclass(frozen=True)
class Measurement:
    """One number, what it must be, and of how many cases it is the mean."""

    model: str
    what: str
    value: float
    low: float
    high: float
    cases: int

    @property
    def met(self) -> bool:
        return self.low <= self.value <= self.high


def measure_models(folder: Path, prompts: int = 512, seed: int = 9) -> list[Measurement]:
    """All measurements of the models in `folder` (`flux`, `checker`, `actor`), those that are there."""
    graphs = list(islice(sample_graphs("held_out", seed, RELATIONS), prompts))
    flux = FluxModel(folder / "flux", steps=EDITING_STEPS)
    images = flux.draw([graph.prompt for graph in graphs], list(range(prompts)), DRAWING_STEPS)
    extractions = [extract(image) for image in images]
    results = measure_diffuser(graphs, extractions) + measure_editor(flux, prompts, seed)
    if (folder / "checker").is_dir():
        results += measure_checker(folder / "checker", graphs, images, extractions)
    if (folder / "actor").is_dir():
        results += measure_actor(folder / "actor", graphs, images, extractions)
    return results


def measure_diffuser(graphs: Sequence[SceneGraph], extractions: Sequence[Extraction]) -> list[Measurement]:
    """Entity-IoU and SG-IoU of the first images."""
    mean = mean_scores([score(graph, extraction) for graph, extraction in zip(graphs, extractions, strict=True)])
    return [
        Measurement("Diffuser", "Entity-IoU", mean.entity_iou, 0.90, 1.0, len(graphs)),
        Measurement("Diffuser", "SG-IoU", mean.sg_iou, 0.30, 0.60, len(graphs)),
    ]


def measure_editor(flux: FluxModel, count: int, seed: int) -> list[Measurement]:
    """Whether an asked-for move that does not hold yet is achieved, and what becomes of the other objects."""
    rng = np.random.default_rng([seed, 1])
    cases: list[tuple[DrawnScene, Move]] = []
    while len(cases) < count:
        scene = sample_scene(rng, "held_out", RELATIONS)
        a, b = rng.permutation(len(scene.objects))[:2]
        predicate = str(rng.choice(PREDICATES))
        subject, object_ = scene.objects[a], scene.objects[b]
        move = (subject.name, predicate, object_.name)
        if not holds(predicate, subject, object_) and execute(move, scene.objects, rng) is not None:
            cases.append((scene, move))
    edits = flux.edit([s.image for s, _ in cases], [edit_prompt(*move) for _, move in cases], list(range(count)))
    achieved, kept = [], []
    for (scene, (subject, predicate, object_)), edit in zip(cases, edits, strict=True):
        found = extract(edit.image)
        a, b = found.find(subject), found.find(object_)
        achieved.append(a is not None and b is not None and holds(predicate, a, b))
        for other in scene.objects:
            if other.name not in (subject, object_):
                now = found.find(other.name)
                kept.append(now is not None and np.hypot(now.x - other.x, now.y - other.y) <= KEPT_WITHIN)
    return [
        Measurement("Inverse Diffuser", "move achieved", float(np.mean(achieved)), 0.45, 0.80, len(achieved)),
        Measurement("Inverse Diffuser", "others kept", float(np.mean(kept)), 0.90, 1.0, len(kept)),
    ]


def measure_checker(
    folder: Path, graphs: Sequence[SceneGraph], images: Sequence[np.ndarray], extractions: Sequence[Extraction]
) -> list[Measurement]:
    """Accuracy and expected calibration error on the requirements of generated images."""
    truth = np.array(
        [
            satisfied(requirement, extraction)
            for graph, extraction in zip(graphs, extractions, strict=True)
            for requirement in graph.related
        ]
    )
    checker = Checker(LocalVlm("checker", VlmConfig(model=str(folder))))
    found = checker.satisfaction(images, [graph.related for graph in graphs])
    probability = np.array([value for row in found for value in row])
    accuracy = float(np.mean((probability >= 0.5) == truth))
    error = expected_calibration_error(probability, truth)
    return [
        Measurement("Checker", "accuracy", accuracy, 0.97, 1.0, len(truth)),
        Measurement("Checker", "calibration error", error, 0.0, 0.05, len(truth)),
    ]


def measure_actor(
    folder: Path, graphs: Sequence[SceneGraph], images: Sequence[np.ndarray], extractions: Sequence[Extraction]
) -> list[Measurement]:
    """Whether answers can be read, and whether the move helps when it is carried out exactly (`vlm_tasks.gain`).

    States are generated images in which all objects are found once and a requirement is unmet.
    """
    states = []
    for graph, image, extraction in zip(graphs, images, extractions, strict=True):
        missing = tuple(r for r in graph.related if not satisfied(r, extraction))
        if missing and all(extraction.find(name) is not None for name in graph.names):
            states.append((graph, image, extraction, actor_request(graph.related, missing)))
    actor = Actor(LocalVlm("actor", VlmConfig(model=str(folder), max_tokens=_ANSWER_TOKENS)))
    shown, requests = [state[1] for state in states], [state[3] for state in states]
    results = []
    for how, temperature, n in (("sampled", 1.0, _SAMPLES), ("greedy", 0.0, 1)):
        answers = actor.reflect(shown, requests, n, temperature, seeds=range(len(states)))
        rng = np.random.default_rng(0)
        parsed = helped = 0
        for (graph, _, extraction, _), row in zip(states, answers, strict=True):
            objects = tuple(found for name in graph.names if (found := extraction.find(name)) is not None)
            for reflection in (answer.reflection for answer in row if answer.reflection is not None):
                parsed += 1
                move = read_move(reflection.edit_prompt)
                helped += move is not None and gain(move, graph, objects, rng) > 0
        count = n * len(states)
        results += [
            Measurement("Actor", f"parsable, {how}", parsed / count, 0.95, 1.0, count),
            Measurement("Actor", f"move helps, {how}", helped / count, 0.40, 0.75, count),
        ]
    return results
