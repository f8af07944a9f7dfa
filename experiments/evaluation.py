"""Evaluates every arm and sweep on the same held-out prompts, with one start of the models."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from experiments.archive import Archive
from experiments.cells import SETS, Cell, raw_cell
from experiments.judge import Judge
from experiments.outcomes import FirstImages, Outcome, best_of, first_images, images_for, only_first, run_loop
from experiments.plan import Plan
from experiments.provenance import Provenance
from experiments.rows import Row
from experiments.served_weights import ServedWeights
from rewards.satisfaction import reward_of
from rollout.models import Models
from scenes.extractors import extract
from scenes.scene_graph import SceneGraph
from scenes.scene_graph_iou import score
from scenes.shape_world import sample_graphs

PROMPTS_SEED = 77  # the same held-out prompts whatever seed a run was trained with


def held_out(name: str, count: int) -> list[SceneGraph]:
    """`count` prompts of object combinations that no run trains on."""
    return list(islice(sample_graphs("held_out", PROMPTS_SEED, SETS[name]), count))


def rows_of(arm: str, seed: int, prompts: str, graphs: list[SceneGraph], outcome: Outcome, judge: Judge) -> list[Row]:
    """One row for each prompt."""
    judged = judge.scores(graphs, [frame.image for frame in outcome.frames])
    rows = []
    for graph, frame, turns, opinion in zip(graphs, outcome.frames, outcome.turns, judged, strict=True):
        scores = score(graph, extract(frame.image))
        rows.append(
            Row(
                arm=arm,
                seed=seed,
                prompts=prompts,
                prompt_id=graph.img_id,
                sg_iou=scores.sg_iou,
                entity_iou=scores.entity_iou,
                relation_iou=scores.relation_iou,
                all_satisfied=float(scores.satisfied >= 1.0),
                checker=reward_of(frame.satisfaction, "soft"),
                judge=float(opinion),
                turns=float(turns),
                model_seconds=outcome.seconds,
            )
        )
    return rows


@dataclass
class Evaluation:
    """What is evaluated, with what, and where the rows go. Rows that lie in the archive are not made again. The trained
    models lie in `work`, a folder for each job."""

    plan: Plan
    models: Models
    weights: ServedWeights
    judge: Judge
    work: Path
    archive: Archive
    provenance: Provenance
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self._drawn: dict[str, FirstImages] = {}

    def evaluate(self, cells: Iterable[Cell]) -> None:
        """Make the rows of these cells that are not in the archive, and put each cell there once it is done."""
        for cell in cells:
            self._rows(cell)

    def _rows(self, cell: Cell) -> list[Row]:
        source = self.provenance.of_cell(cell)
        known = self.archive.rows(cell.name, source)
        if known is not None:
            return known
        first = self._first(cell.prompts, cell.count)
        outcome = self._outcome(cell, first)
        rows = rows_of(cell.arm.name, cell.seed, cell.prompts, first.graphs, outcome, self.judge)
        self.archive.keep_rows(cell.name, rows, source)
        mean = np.mean([row.sg_iou for row in rows])
        self.say(f"{cell.name}: SG-IoU {mean:.3f}, {outcome.seconds:.3f} model seconds an image")
        return rows

    def _first(self, prompts: str, count: int) -> FirstImages:
        """The first images of the first `count` prompts of a set, which are drawn when it is first asked for."""
        if prompts not in self._drawn:
            size = {"two_three": self.plan.prompts, "four_five": self.plan.harder}[prompts]
            self._drawn[prompts] = first_images(self.models, held_out(prompts, size))
        whole = self._drawn[prompts]
        return FirstImages(whole.graphs[:count], whole.states[:count], whole.seconds_each * count)

    def _outcome(self, cell: Cell, first: FirstImages) -> Outcome:
        for policy in ("actor", "editor"):
            trained = None
            if cell.job is not None and policy in cell.arm.policies:
                trained = self.work / cell.job.folder / "models" / policy
            self.weights.serve(policy, trained)
        if cell.arm.kind == "diffuser":
            return only_first(first)
        if cell.arm.kind == "best_of_n":
            raw = self._rows(raw_cell(self.plan, cell.prompts))
            return best_of(self.models, first, images_for(raw[0].model_seconds, first.seconds_each))
        return run_loop(self.models, first, cell.turns, random=cell.arm.kind == "random")
