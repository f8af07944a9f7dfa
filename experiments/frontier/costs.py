"""Model seconds: what one call of each kind costs, and what a setting's calls come to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from experiments.frontier.rows import Trace
from experiments.frontier.systems import DRAW_STEPS, EDIT_STEPS, RAW, Setting
from rollout.state import unmet
from scenes.dialogues.dialogue import SHAPES
from scenes.scene_graph import SceneGraph

if TYPE_CHECKING:
    from experiments.frontier.playing import Cast


class Outcome(NamedTuple):
    """What a setting makes of one prompt: the image's SG-IoU, whether all holds, the Checker's score, turns, and model
    seconds."""

    sg_iou: float
    all_holds: float
    checker: float
    turns: int
    seconds: float


@dataclass(frozen=True)
class Costs:
    """Seconds of one core: a drawing and an edit by their steps, a question to the Checker, an answer of the Actor."""

    draw: Mapping[int, float]
    edit: Mapping[int, float]
    question: float
    answer: float

    def least(self, other: Costs) -> Costs:
        """The lower seconds of each call: other work on a machine can only add to them."""
        return Costs(
            {steps: min(seconds, other.draw[steps]) for steps, seconds in self.draw.items()},
            {steps: min(seconds, other.edit[steps]) for steps, seconds in self.edit.items()},
            min(self.question, other.question),
            min(self.answer, other.answer),
        )

    def drawings(self, trace: Trace, setting: Setting) -> Outcome:
        """Of a trace of drawings: the Checker's choice of the setting's number of them."""
        drawn = min(setting.drawings, len(trace.points))
        chosen = trace.points[trace.choice(setting.drawings)]
        seconds = drawn * (self.draw[setting.draw_steps] + trace.relations * self.question)
        return Outcome(chosen.sg_iou, chosen.all_holds, chosen.checker, 0, seconds)

    def loop(self, trace: Trace, setting: Setting, answered: bool) -> Outcome:
        """Of a trace of turns; without the drawings before it.

        Args:
            answered: whether a model answers in the Actor's place.
        """
        turns = min(setting.turns, len(trace.points) - 1)
        point = trace.points[turns]
        seconds = point.edits * (self.edit[setting.edit_steps] + trace.relations * self.question)
        seconds += turns * self.answer * answered
        return Outcome(point.sg_iou, point.all_holds, point.checker, turns, seconds)


def measure_costs(cast: Cast, graphs: Sequence[SceneGraph], repeats: int = 3) -> Costs:
    """The least processor time of several repeats, in batches of all `graphs`: other work on the machine can only add
    to it. Answers are those of the raw Actor."""
    from experiments.frontier.playing import Stepped

    count = len(graphs)
    seeds, prompts = list(range(count)), [graph.prompt for graph in graphs]
    images = cast.diffuser.draw(prompts, seeds, min(DRAW_STEPS))
    asked = [graph.requirements for graph in graphs]
    found = cast.checker.satisfaction(images, asked)
    missing = [unmet(graph, row) or graph.requirements[:1] for graph, row in zip(graphs, found, strict=True)]
    requests = [SHAPES.request(graph.requirements, some) for graph, some in zip(graphs, missing, strict=True)]
    edits = [f"move {some[0].text}" for some in missing]
    actor, editor = cast.actors[RAW], cast.editors[RAW]

    def edit(steps: int) -> object:
        return Stepped(editor, steps).edit(images, edits, seeds)

    calls: dict[str, tuple[Callable[[], object], int]] = {
        "question": (lambda: cast.checker.satisfaction(images, asked), sum(map(len, asked))),
        "answer": (lambda: actor.reflect(images, requests, temperature=0.0, seeds=seeds), count),
        **{f"draw {n}": (partial(cast.diffuser.draw, prompts, seeds, n), count) for n in DRAW_STEPS},
        **{f"edit {n}": (partial(edit, n), count) for n in EDIT_STEPS},
    }
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):  # all kinds in each round, so that they meet the same quiet moments
        for name, (call, _) in calls.items():
            began = time.process_time()
            call()
            taken[name].append(time.process_time() - began)
    least = {name: min(taken[name]) / number for name, (_, number) in calls.items()}
    return Costs(
        draw={n: least[f"draw {n}"] for n in DRAW_STEPS},
        edit={n: least[f"edit {n}"] for n in EDIT_STEPS},
        question=least["question"],
        answer=least["answer"],
    )
