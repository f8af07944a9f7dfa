"""Runs and evaluations that a program starts."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from presets.choice.chosen_config import config_to_train, models_of
from presets.choice.fit import why_on_ray
from presets.choice.own_prompts import read_prompts, with_prompts, write_prompts
from presets.choice.trained_models import Models as Which
from presets.choice.trained_models import trained_models
from presets.errors import BadInput, RunFailed
from presets.places import TINY
from reports.status.progress_display import make_progress
from rlrig.checks.output import writable_file, writable_folder
from rlrig.command import dated, settings
from rlrig.train_cli import new_run_folder

if TYPE_CHECKING:
    from measuring.measures import Measures


class Trainer:
    """A run that is about to start, or to go on. What was given is checked at once; `train` does the rest.

    Args:
        preset: run file.
        overrides: `key=value`, as after `--set`.
        reward: `hard`, `soft`, or a function of yours as `MODULE:NAME`; None: the run file's `rollout.reward`.
        rewards: scorers, each by its name (`preservation`, `MODULE:NAME`) or with the settings of an entry of the run
            file's `rewards`; none: the run file's.
        prompts: train on these, in the place of what `data` names. Evaluation keeps the held-out prompts of `data`,
            but for these, and has the Checker alone to measure with.
        out: folder of the run; None: runs/PRESET-TIME.
        resume: go on with the run in `out`, from its last checkpoint.
        quiet: show nothing.

    Attributes:
        config: the run's.
        folder: the run's.

    Raises:
        BadInput: what was given cannot be used.
    """

    def __init__(
        self,
        preset: str | Path = TINY,
        overrides: Sequence[str] = (),
        *,
        reward: str | None = None,
        rewards: Sequence[str | Mapping[str, Any]] = (),
        prompts: Sequence[str] = (),
        out: str | Path | None = None,
        resume: bool = False,
        quiet: bool = False,
    ) -> None:
        if resume and (out is None or prompts):
            raise BadInput("resume: needs out, the folder of the run, and goes on with that run's prompts")
        self.folder = new_run_folder(Path(preset)) if out is None else Path(out)
        self._resume, self._quiet = resume, quiet
        given = [*settings(list(overrides)), *([] if reward is None else [f"rollout.reward={reward}"])]
        if rewards:
            entries = [{"scorer": one} if isinstance(one, str) else dict(one) for one in rewards]
            given.append(f"rewards={json.dumps(entries)}")
        self.config = self._base = config_to_train(Path(preset), given, self.folder, resume)
        if graphs := read_prompts(self.config, prompts):
            self.config = with_prompts(self.config, graphs, self.folder)
        self._graphs = graphs

    def train(self) -> dict[str, Any]:
        """Train, and write what `rlrig train` writes into the folder. Returns the run's summary.

        Raises:
            BadInput: what was given cannot be used, or Ray runs in this process.
            RunFailed: the run could not go on; what it had written stays.
        """
        _refuse_other_ray()
        from rlrig.training import train
        from rollout.prompts import load_prompts

        writable_folder(self.folder, "out")
        if self._graphs:
            data = self._base.data.model_copy(update={"train_size": 1})  # no more of them is needed here
            write_prompts(self._graphs, load_prompts(data, self._base.seed).held_out, self.folder)
        with make_progress(self._quiet) as progress:
            return train(self.config, self.folder, self._resume, progress)


def evaluate(
    source: str | Path = TINY,
    overrides: Sequence[str] = (),
    *,
    models: Which | None = None,
    measures: Measures | None = None,
    out: str | Path | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Held-out metrics of models as `rlrig.load` takes them, in this process where they fit, with their intervals.

    Args:
        source, overrides, models: as of `rlrig.load`.
        measures: None: those that fit the data.
        out: JSON file to write; None: eval-TIME.json in the run's folder or in runs.
        quiet: show nothing.

    Raises:
        BadInput: what was given cannot be used.
        RunFailed: an endpoint does not answer, or not a single image could be measured.
    """
    place = Path(source)
    is_run = place.is_dir()
    config, run, _ = models_of(place if is_run else None, place, settings(list(overrides)), models)
    if on_ray := why_on_ray(trained_models(config, run)) is not None:
        _refuse_other_ray()
    from measuring.measures import unmeasured
    from rlrig.evaluation import evaluate as run_evaluation

    file = writable_file(Path(out or (place if is_run else Path("runs")) / f"{dated('eval')}.json"), "out")
    with make_progress(quiet) as progress:
        metrics = run_evaluation(config, run, progress, file, measures, on_ray)
    if problem := unmeasured(metrics):
        raise RunFailed(problem)
    return metrics


def _refuse_other_ray() -> None:
    """A run starts a Ray of its own, or joins a cluster, and leaves it."""
    if (ray := sys.modules.get("ray")) is not None and ray.is_initialized():
        raise BadInput("Ray runs in this program: call ray.shutdown() first, or use rollout.algorithm.ReflectionGRPO")
