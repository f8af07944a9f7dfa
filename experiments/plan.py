"""What `rlrig results` does: how many seeds, prompts and updates, in full or as a quick look."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.sweeps import SWEEPS, Sweep

WEAK = "weak-checker"


@dataclass(frozen=True)
class TrainingJob:
    """One run of `rlrig train` with settings on top of the preset."""

    name: str
    seed: int
    overrides: tuple[str, ...]

    @property
    def folder(self) -> str:
        """Where the job leaves its run."""
        return f"{self.name}-seed{self.seed}"


@dataclass(frozen=True)
class Plan:
    """A run of both policies trains each as often as one that trains it alone: `actor_updates` and `editor_updates`
    times; alternating, in `rounds` rounds of the Actor and then the editor. `prompts` are held-out ones with two and
    three relations, `harder` with four and five. Runs of the sweeps train one policy, with fewer updates, and are
    evaluated on `sweep_prompts`. `weak_checker` is the Checker of a run that shows what gaming looks like, relative to
    the preset; None leaves that run out."""

    seeds: tuple[int, ...] = (0, 1, 2)
    actor_updates: int = 32
    editor_updates: int = 16
    rounds: int = 4
    prompts: int = 512
    harder: int = 256
    sweep_actor_updates: int = 16
    sweep_editor_updates: int = 8
    sweep_prompts: int = 256
    sweeps: tuple[Sweep, ...] = SWEEPS
    turns: int = 2
    weak_checker: str | None = "models/weak-checker"
    fast: bool = False

    def jobs(self) -> list[TrainingJob]:
        """All training runs."""
        return self.arm_jobs() + self.sweep_jobs()

    def arm_jobs(self) -> list[TrainingJob]:
        """The runs of the arms, those of the first seed first, then the one with the weak Checker."""
        found = [
            TrainingJob(name, seed, (self._stages(name), *self._common(seed)))
            for seed in self.seeds
            for name in ("stages", "editor", "alternating")
        ]
        if self.weak_checker:
            weak = (f"models.checker={self.weak_checker}",)
            found.append(
                TrainingJob(WEAK, self.seeds[0], (self._stages("stages"), *self._common(self.seeds[0]), *weak))
            )
        return found

    def sweep_jobs(self) -> list[TrainingJob]:
        """The runs of the sweeps, with the first seed: those with the preset's settings, then the others."""
        found = {
            sweep.job(setting): (self._sweep_stages(sweep.policy), *self._common(self.seeds[0]), *setting.overrides)
            for trains in (False, True)
            for sweep in self.sweeps
            for setting in sweep.settings
            if sweep.policy != "both" and bool(setting.overrides) == trains
        }
        return [TrainingJob(name, self.seeds[0], overrides) for name, overrides in found.items()]

    def _stages(self, name: str) -> str:
        actor, editor = self.actor_updates, self.editor_updates
        return {
            "stages": stages_setting(("actor", actor), ("editor", editor)),
            "editor": stages_setting(("editor", editor)),
            "alternating": stages_setting(
                *[("actor", actor // self.rounds), ("editor", editor // self.rounds)] * self.rounds
            ),
        }[name]

    def _sweep_stages(self, policy: str) -> str:
        return stages_setting(
            (policy, {"actor": self.sweep_actor_updates, "editor": self.sweep_editor_updates}[policy])
        )

    def _common(self, seed: int) -> tuple[str, ...]:
        return (f"seed={seed}", "evaluation.prompts=0", f"rollout.turns={self.turns}")


def stages_setting(*stages: tuple[str, int]) -> str:
    """The override that makes a run of these stages: the policy of each, and its updates."""
    return f"stages=[{', '.join(f'{{stage: {policy}, updates: {updates}}}' for policy, updates in stages)}]"


FULL = Plan()
FAST = Plan(
    seeds=(0,),
    actor_updates=8,
    editor_updates=4,
    rounds=2,
    prompts=96,
    harder=48,
    sweeps=(),
    weak_checker=None,
    fast=True,
)
