"""RLlib's configuration of an algorithm whose run stands in a run file: what of RLlib's own settings works, and what
is refused by name."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig, NotProvided
from ray.rllib.utils.annotations import override

from presets.errors import BadInput
from presets.places import BASE, TINY, preset_at
from presets.run_config import RunConfig
from presets.run_file import load_config
from rollout.env_runner import ReflectEditRunner

# RLlib's settings that do here what they do in RLlib; with None, all of a method's.
_WORKING: dict[str, set[str] | None] = {
    "python_environment": None,
    "resources": {"num_cpus_for_main_process", "placement_strategy"},
    "api_stack": None,
    "callbacks": {"callbacks_class", "on_algorithm_init", "on_train_result", "on_checkpoint_loaded"},
    "reporting": {"min_time_s_per_iteration"},
    "debugging": {"log_level", "log_sys_usage", "seed"},
    "fault_tolerance": None,
    "experimental": None,
}
_INSTEAD = {  # what to set in the place of others
    "env_runners": "rollout.* with reflection(overrides=[...])",
    "training": "learner.actor.*, learner.editor.* and rollout.* with reflection(overrides=[...])",
    "learners": "learner.actor.ranks, learner.actor.gpus_per_rank and their like with reflection(overrides=[...])",
    "environment": "data.* with reflection(overrides=[...]); prompts take the place of an environment",
    "evaluation": "evaluation.prompts and evaluation.every with reflection(overrides=[...])",
    "resources": "the cpus and gpus of each role with reflection(overrides=[...])",
}


class RunFileConfig(AlgorithmConfig):
    """What an algorithm is told, by the methods that RLlib's users know.

    Every method of RLlib is there. A setting that has no meaning for such an algorithm is refused by name, so that none
    is lost without a word.
    """

    preset: str = str(BASE / TINY)
    overrides: Any = ()
    folder: str | None = None

    def reflection(
        self,
        *,
        preset: str | Path = NotProvided,
        overrides: Any = NotProvided,
        folder: str | Path = NotProvided,
    ) -> Self:
        """Which preset to run, and settings on top of it.

        Args:
            preset: a run file.
            overrides: `key=value` texts; or what Ray Tune searches, such as `tune.grid_search([["seed=1"],
                ["seed=2"]])`.
            folder: where the state of a policy that does not train at the moment is kept; without it, RLlib's own.

        Raises:
            BadInput: the preset or an override is refused.
        """
        if preset is not NotProvided:
            self.preset = str(preset_at(Path(preset)).resolve())
        if overrides is not NotProvided:
            self.overrides = list(overrides) if isinstance(overrides, list | tuple) else overrides
        if folder is not NotProvided:
            self.folder = str(Path(folder).resolve())
        self._take_over()
        return self

    @property
    def run_config(self) -> RunConfig:
        """The preset with the overrides applied."""
        return load_config(Path(self.preset), list(self.overrides))

    @override(AlgorithmConfig)
    def training(self, *, lr: float = NotProvided, **others: Any) -> Self:
        """`lr` is AdamW's first step size, of both policies; all else is refused."""
        _refuse("training", others, set())
        if lr is not NotProvided and lr is not None:
            given = [f"learner.{policy}.learning_rate={lr!r}" for policy in ("actor", "editor")]
            self.reflection(overrides=[*self.overrides, *given])
        return self

    @override(AlgorithmConfig)
    def env_runners(
        self, *, num_env_runners: int = NotProvided, num_cpus_per_env_runner: float = NotProvided, **others: Any
    ) -> Self:
        """The number of EnvRunners and their logical CPUs, as `rollout.env_runners` and `rollout.env_runner_cpus`; all
        else is refused."""
        _refuse("env_runners", others, set())
        given = {"env_runners": num_env_runners, "env_runner_cpus": num_cpus_per_env_runner}
        texts = [f"rollout.{key}={value!r}" for key, value in given.items() if value is not NotProvided]
        return self.reflection(overrides=[*self.overrides, *texts])

    @override(AlgorithmConfig)
    def validate(self) -> None:
        self._take_over()  # overrides that Tune chose came after `reflection`
        super().validate()

    @override(AlgorithmConfig)
    def _validate_new_api_stack_settings(self) -> None:
        """RLlib demands its own Learner with its new EnvRunners; here the learners of `learner/` take its place."""

    def _take_over(self) -> None:
        """Tell RLlib what follows from the run file; not while Tune has yet to choose the overrides."""
        AlgorithmConfig.env_runners(self, env_runner_cls=ReflectEditRunner, create_local_env_runner=False)
        if not isinstance(self.overrides, list | tuple):
            return
        rollout = self.run_config.rollout
        AlgorithmConfig.env_runners(
            self, num_env_runners=rollout.env_runners, num_cpus_per_env_runner=rollout.env_runner_cpus
        )


def _refuse(method: str, given: Mapping[str, Any], working: set[str] | None) -> None:
    """Raise BadInput for the first setting that has a value and does nothing here. RLlib's own calls, with which it
    copies a configuration, may set everything."""
    if str(sys._getframe(2).f_globals.get("__name__")).startswith("ray."):
        return
    for name, value in given.items():
        if value is NotProvided or value is None or working is None or name in working:
            continue
        instead = _INSTEAD.get(method, "what you need with reflection(overrides=[...]), see docs/configuration.md")
        raise BadInput(f"{method}({name}={value!r}) is refused: it means nothing for this algorithm; set {instead}")


def _checked(method: str) -> Any:
    """RLlib's method of this name, which refuses what does nothing."""
    original, working = getattr(AlgorithmConfig, method), _WORKING.get(method, set())

    def checked(self: RunFileConfig, *positional: Any, **given: Any) -> RunFileConfig:
        _refuse(method, {**{str(index): value for index, value in enumerate(positional)}, **given}, working)
        result: RunFileConfig = original(self, *positional, **given)
        return result

    checked.__name__, checked.__doc__ = method, original.__doc__
    return checked


for _method in (
    *("resources", "framework", "environment", "learners", "callbacks", "evaluation", "offline_data", "multi_agent"),
    *("reporting", "checkpointing", "debugging", "rl_module"),
):
    setattr(RunFileConfig, _method, _checked(_method))
