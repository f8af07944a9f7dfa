"""The cell: one arm or one setting of a sweep, with one training seed, on one set of held-out prompts."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.arms import ARMS, RAW, Arm
from experiments.plan import Plan, TrainingJob
from experiments.rows import UNTRAINED
from experiments.sweeps import Setting, Sweep

SETS = {"two_three": (2, 3), "four_five": (4, 5)}


@dataclass(frozen=True)
class Cell:
    """`count` prompts of the set `prompts`, at most `turns` edits each. `job` trained what the arm uses; None where
    nothing is trained."""

    name: str
    arm: Arm
    job: TrainingJob | None
    prompts: str
    count: int
    turns: int

    @property
    def seed(self) -> int:
        """The training seed, or `UNTRAINED`."""
        return UNTRAINED if self.job is None else self.job.seed


@dataclass(frozen=True)
class SweepCell:
    """The cell of one setting of a sweep."""

    sweep: Sweep
    setting: Setting
    cell: Cell


def _counts(plan: Plan) -> dict[str, int]:
    return {"two_three": plan.prompts, "four_five": plan.harder}


def _job(plan: Plan, arm: Arm, seed: int) -> TrainingJob:
    return next(job for job in plan.jobs() if (job.name, job.seed) == (arm.job, seed))


def _arm_cell(plan: Plan, arm: Arm, seed: int, prompts: str) -> Cell:
    job = None if arm.job is None else _job(plan, arm, seed)
    name = _file_name(f"{arm.name}-{seed}-{prompts}")
    return Cell(name, arm, job, prompts, _counts(plan)[prompts], plan.turns)


def raw_cell(plan: Plan, prompts: str) -> Cell:
    """The loop before training, whose cost decides N of best-of-N."""
    return _arm_cell(plan, RAW, UNTRAINED, prompts)


def arm_cells(plan: Plan) -> list[Cell]:
    """Every arm on both sets of prompts, with every training seed where it has any."""
    return [
        _arm_cell(plan, arm, seed, prompts)
        for prompts in SETS
        for arm in ARMS
        for seed in (plan.seeds if arm.job else (UNTRAINED,))
    ]


def sweep_cells(plan: Plan) -> list[SweepCell]:
    """Every setting of every sweep, with the first seed, on the first prompts with two and three relations. Settings
    that change nothing share a cell."""
    found = []
    for sweep in plan.sweeps:
        policies = ("actor", "editor") if sweep.policy == "both" else (sweep.policy,)
        for setting in sweep.settings:
            changed = setting.overrides or setting.turns
            what = f"sweep {sweep.name} {setting.label}" if changed else f"sweep {sweep.policy}"
            arm = Arm(what, sweep.what if changed else "as in the preset", job=sweep.job(setting), policies=policies)
            job = _job(plan, arm, plan.seeds[0])
            count, turns = plan.sweep_prompts, setting.turns or plan.turns
            found.append(SweepCell(sweep, setting, Cell(_file_name(what), arm, job, "two_three", count, turns)))
    return found


def _file_name(text: str) -> str:
    return text.replace(" ", "-").replace(":", "").replace(",", "")
