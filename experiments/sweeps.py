"""What the result depends on: one setting at a time, everything else as in the preset."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """One value. Without `overrides` it is the preset's; `turns` is that of the evaluation, where it differs."""

    label: str
    overrides: tuple[str, ...] = ()
    turns: int | None = None


@dataclass(frozen=True)
class Sweep:
    """`policy` is the one that trains in every run of the sweep; all sweeps of a policy share the run with the preset's
    value. A sweep of `both` trains nothing: it evaluates the trained loop."""

    name: str
    what: str
    policy: str  # actor | editor | both
    settings: tuple[Setting, ...]

    def job(self, setting: Setting) -> str:
        """The training job that a setting is evaluated with."""
        if self.policy == "both":
            return "stages"
        what = f"{self.name} {setting.label}" if setting.overrides else self.policy
        return "sweep-" + "-".join(what.replace(",", "").split())


SWEEPS = (
    Sweep(
        "group size",
        "members of a group, at 80 members an update (Actor)",
        "actor",
        (
            Setting("4", ("rollout.group_size=4", "rollout.prompts_per_update=20")),
            Setting("8"),
            Setting("16", ("rollout.group_size=16", "rollout.prompts_per_update=5")),
        ),
    ),
    Sweep(
        "grouping",
        "what starts alike: every turn, or whole episodes (Actor)",
        "actor",
        (Setting("turn"), Setting("trajectory", ("rollout.group=trajectory",))),
    ),
    Sweep(
        "noise of edits",
        "what the edits of a group start from: the same noise, or each its own (Actor)",
        "actor",
        (Setting("shared"), Setting("own", ("rollout.edit_noise=own",))),
    ),
    Sweep(
        "reward",
        "the Checker's yes-probability as it is, or cut at ½ (Actor)",
        "actor",
        (Setting("soft", ("rollout.reward=soft",)), Setting("hard")),
    ),
    Sweep(
        "turns",
        "edits at evaluation, at most (both trained with 2)",
        "both",
        (Setting("1", turns=1), Setting("2"), Setting("3", turns=3), Setting("4", turns=4)),
    ),
    Sweep(
        "SDE noise level",
        "η of the editor's sampler while it trains (editor)",
        "editor",
        (Setting("0.3", ("editor.eta=0.3",)), Setting("0.7"), Setting("1.0", ("editor.eta=1.0",))),
    ),
    Sweep(
        "SDE steps",
        "stochastic steps of 4, from the first (editor)",
        "editor",
        (Setting("1"), Setting("2", ("editor.sde_window=[0, 2]",)), Setting("3", ("editor.sde_window=[0, 3]",))),
    ),
    Sweep(
        "KL, Actor",
        "weight of the KL term to the starting model",
        "actor",
        (Setting("off"), Setting("0.05", ("learner.actor.kl_coefficient=0.05",))),
    ),
    Sweep(
        "KL, editor",
        "weight of the KL term to the starting model",
        "editor",
        (Setting("off"), Setting("0.01", ("learner.editor.kl_coefficient=0.01",))),
    ),
    Sweep(
        "importance correction",
        "truncated importance sampling between vLLM and the learner (Actor)",
        "actor",
        (Setting("on"), Setting("off", ("learner.actor.importance_cap=null",))),
    ),
)
