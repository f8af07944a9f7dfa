"""Evaluates every arm and sweep on the same held-out prompts, with one start of the models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from experiments.arms import ARMS, RAW, Arm
from experiments.jobs import is_done
from experiments.judge import Judge
from experiments.outcomes import FirstImages, Outcome, best_of, first_images, images_for, only_first, run_loop
from experiments.plan import Plan, job_folder
from experiments.rows import UNTRAINED, Row, read_rows, write_rows
from experiments.served_weights import ServedWeights
from experiments.sweeps import Setting, Sweep
from rollout.episode import reward_of
from rollout.models import Models
from scenes.extractors import extract
from scenes.scene_graph import SceneGraph
from scenes.scene_graph_iou import score
from scenes.shape_world import sample_graphs

PROMPTS_SEED = 77  # the same held-out prompts whatever seed a run was trained with
SETS = {"two_three": (2, 3), "four_five": (4, 5)}


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
    """What is evaluated, with what, and where the rows go. Rows that lie in `folder` are read, not made again."""

    plan: Plan
    models: Models
    weights: ServedWeights
    judge: Judge
    work: Path
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self._drawn: dict[str, FirstImages] = {}

    def _first(self, prompts: str, count: int | None = None) -> FirstImages:
        """The first images of a set of prompts, drawn when they are first asked for; of the first `count` of them."""
        if prompts not in self._drawn:
            size = {"two_three": self.plan.prompts, "four_five": self.plan.harder}[prompts]
            self._drawn[prompts] = first_images(self.models, held_out(prompts, size))
        whole = self._drawn[prompts]
        count = count or len(whole.graphs)
        return FirstImages(whole.graphs[:count], whole.states[:count], whole.seconds_each * count)

    def arms(self) -> list[Row]:
        """All arms on both sets of prompts, with every training seed."""
        return [
            row
            for prompts in SETS
            for arm in ARMS
            for seed in self._seeds(arm)
            for row in self._arm(arm, seed, prompts)
        ]

    def _arm(self, arm: Arm, seed: int, prompts: str) -> list[Row]:
        return self._kept(f"{arm.name}-{seed}-{prompts}", arm, seed, prompts)

    def _seeds(self, arm: Arm) -> list[int]:
        """The training seeds whose models are there."""
        if arm.job is None:
            return [UNTRAINED]
        return [seed for seed in self.plan.seeds if is_done(self.work / job_folder(arm.job, seed))]

    def sweeps(self) -> Iterator[tuple[Sweep, Setting, list[Row]]]:
        """Each setting of each sweep, on the first of the prompts with two and three relations."""
        count, seed = self.plan.sweep_prompts, self.plan.seeds[0]
        for sweep in self.plan.sweeps:
            policies = ("actor", "editor") if sweep.policy == "both" else (sweep.policy,)
            for setting in sweep.settings:
                arm = Arm(f"{sweep.name}: {setting.label}", sweep.what, job=sweep.job(setting), policies=policies)
                if seed in self._seeds(arm):
                    name = f"sweep-{sweep.name}-{setting.label}"
                    yield sweep, setting, self._kept(name, arm, seed, "two_three", count, setting.turns)

    def _kept(
        self, name: str, arm: Arm, seed: int, prompts: str, count: int | None = None, turns: int | None = None
    ) -> list[Row]:
        path = self.work / "rows" / f"{name.replace(' ', '-').replace(':', '').replace(',', '')}.parquet"
        if path.is_file():
            return read_rows(path)
        first = self._first(prompts, count)
        outcome = self._outcome(arm, seed, prompts, first, turns or self.plan.turns)
        rows = rows_of(arm.name, seed, prompts, first.graphs, outcome, self.judge)
        write_rows(rows, path)
        mean = np.mean([row.sg_iou for row in rows])
        self.say(f"{arm.name}, seed {seed}, {prompts}: SG-IoU {mean:.3f}, {outcome.seconds:.3f} model seconds an image")
        return rows

    def _outcome(self, arm: Arm, seed: int, prompts: str, first: FirstImages, turns: int) -> Outcome:
        for policy in ("actor", "editor"):
            trained = self.work / job_folder(arm.job, seed) / "models" / policy if policy in arm.policies else None
            self.weights.serve(policy, trained)
        if arm.kind == "diffuser":
            return only_first(first)
        if arm.kind == "best_of_n":
            raw = self._arm(RAW, UNTRAINED, prompts)
            return best_of(self.models, first, images_for(raw[0].model_seconds, first.seconds_each))
        return run_loop(self.models, first, turns, random=arm.kind == "random")
