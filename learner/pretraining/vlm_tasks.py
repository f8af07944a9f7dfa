"""What the small VLMs are taught: pairs of a request and an answer about one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from learner.pretraining.moves import best_move
from learner.pretraining.vocabulary import CELLS
from scenes.dialogue import Reflection, actor_request, checker_question, edit_prompt
from scenes.scene_graph import Requirement, SceneGraph
from scenes.shape_world import (
    COLOURS,
    PREDICATES,
    SHAPES,
    SIZE,
    PlacedObject,
    Places,
    fits,
    holds,
    observed_predicate,
    sample_layout,
    sample_scene,
)

NAMING_REQUEST = "name objects ?"


@dataclass(frozen=True)
class Lesson:
    """One request about one image, and its answer."""

    request: str
    answer: str


def naming(objects: tuple[PlacedObject, ...]) -> Lesson:
    """Name every object with its coarse place, from left to right."""
    parts = [
        f"{o.name} x{int(o.x * CELLS / SIZE)} y{int(o.y * CELLS / SIZE)}" for o in sorted(objects, key=lambda o: o.x)
    ]
    return Lesson(NAMING_REQUEST, " ; ".join(parts))


def question(requirement: Requirement, truth: bool) -> Lesson:
    """A Checker's question with its true answer."""
    return Lesson(checker_question(requirement), "yes" if truth else "no")


def random_question(objects: tuple[PlacedObject, ...], rng: np.random.Generator) -> Lesson:
    """Ask about two objects of the picture; three times in ten about a name that is not there."""
    first, second = (objects[k] for k in rng.permutation(len(objects))[:2])
    wanted_true = rng.random() < 0.55
    options = [p for p in PREDICATES if holds(p, first, second) == wanted_true] or list(PREDICATES)
    predicate = str(rng.choice(options))
    if rng.random() < 0.3:
        names = (absent_name(first, objects, rng), second.name)
        subject, object_ = names if rng.random() < 0.5 else names[::-1]
        return question(Requirement(subject, predicate, object_), False)
    return question(Requirement(first.name, predicate, second.name), holds(predicate, first, second))


def absent_name(near: PlacedObject, objects: tuple[PlacedObject, ...], rng: np.random.Generator) -> str:
    """A name that is not in the picture and differs from `near` in one attribute, more often in its shape: that its
    colour is there makes it the harder negative."""
    present = {o.name for o in objects}
    colour, shape = near.colour, near.shape
    change_shape = rng.random() < 0.75
    while f"{colour} {shape}" in present:
        if change_shape:
            shape = str(rng.choice(SHAPES))
        else:
            colour = str(rng.choice(list(COLOURS)))
    return f"{colour} {shape}"


def existence_question(objects: tuple[PlacedObject, ...], rng: np.random.Generator) -> Lesson:
    """Ask whether one object is there, which teaches shapes before relations of shapes."""
    asked = objects[rng.integers(len(objects))]
    if rng.random() < 0.5:
        return Lesson(f"is {asked.name} ?", "yes")
    return Lesson(f"is {absent_name(asked, objects, rng)} ?", "no")


def unmet(graph: SceneGraph, objects: tuple[PlacedObject, ...]) -> tuple[Requirement, ...]:
    """The requirements of a graph that a layout does not meet."""
    by_name = {o.name: o for o in objects}
    return tuple(r for r in graph.related if not holds(r.predicate, by_name[r.subject], by_name[r.object]))


def execute(
    instruction: tuple[str, str, str],
    objects: tuple[PlacedObject, ...],
    rng: np.random.Generator,
    places: Places | None = None,
) -> tuple[PlacedObject, ...] | None:
    """Carry out `move SUBJECT PREDICATE OBJECT` exactly, at a random free place, one of `places` where they are given;
    None where there is none."""
    subject_name, predicate, object_name = instruction
    by_name = {o.name: o for o in objects}
    if subject_name not in by_name or object_name not in by_name or subject_name == object_name:
        return None
    subject, object_ = by_name[subject_name], by_name[object_name]
    others = tuple(o for o in objects if o is not subject)
    drawn = rng.uniform(8, SIZE - 8, size=(80, 2)) if places is None else rng.permutation(places)
    for x, y in drawn:
        moved = PlacedObject(subject.colour, subject.shape, float(x), float(y), subject.radius)
        if holds(predicate, moved, object_) and fits(moved, others):
            return tuple(moved if o is subject else o for o in objects)
    return None


def gain(
    instruction: tuple[str, str, str], graph: SceneGraph, objects: tuple[PlacedObject, ...], rng: np.random.Generator
) -> int:
    """How many requirements more are met after the instruction was carried out exactly once; 0 where it cannot be."""
    after = execute(instruction, objects, rng)
    return 0 if after is None else len(unmet(graph, objects)) - len(unmet(graph, after))


def reflection_lesson(
    graph: SceneGraph, objects: tuple[PlacedObject, ...], rng: np.random.Generator, habit: float
) -> Lesson:
    """What the Actor is taught about a state with unmet requirements.

    With probability `habit` the teacher repeats the first requirement of the goal, whether it is met or not;
    otherwise it chooses the best move. Near ½ it is the most probable answer, which greedy decoding follows.
    """
    if rng.random() < habit:
        first = graph.related[0]
        instruction = first.triple
    else:
        instruction = best_move(unmet(graph, objects), graph, objects)
    by_name = {o.name: o for o in objects}
    seen = observed_predicate(by_name[instruction[0]], by_name[instruction[2]])
    answer = Reflection(f"{instruction[0]} {seen} {instruction[2]}", edit_prompt(*instruction))
    return Lesson(actor_request(graph.related, unmet(graph, objects)), answer.text)


def imperfect_state(
    rng: np.random.Generator, split: str | None, relations: tuple[int, int]
) -> tuple[SceneGraph, tuple[PlacedObject, ...]]:
    """A scene graph and a layout of its objects in which at least one requirement is unmet."""
    while True:
        scene = sample_scene(rng, split, relations)
        layout = sample_layout([(o.colour, o.shape) for o in scene.objects], rng)
        if unmet(scene.graph, layout):
            return scene.graph, layout
