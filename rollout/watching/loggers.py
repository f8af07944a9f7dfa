"""TensorBoard, MLflow and W&B of a run, through the logger callbacks of Ray Tune.

The run is driven here and not by a `Tuner`, so `TuneTrial` is what the callbacks see of it: what they read of a trial.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from presets.errors import BadInput
from rollout.update_record import numbers_of
from rollout.watching.deadline_thread import DeadlineThread

if TYPE_CHECKING:
    from ray.tune.logger import LoggerCallback

LOGGER_PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
_DEADLINE_S = 60.0


@dataclass(frozen=True, eq=False)
class TuneTrial:
    """A run as Tune's logger callbacks see it.

    Attributes:
        trial_id: what W&B tells runs apart by; a run that goes on after a stop is another one in the same group.
        local_path: absolute path of the folder that the logger writes into.
        experiment_dir_name: the group of the run in W&B.
        config: the run file.
    """

    trial_id: str
    local_path: str
    experiment_dir_name: str
    config: dict[str, Any]
    evaluated_params: dict[str, Any] = field(default_factory=dict)

    def init_local_path(self) -> None:
        """Make the folder."""
        Path(self.local_path).mkdir(parents=True, exist_ok=True)

    def __str__(self) -> str:
        return self.experiment_dir_name


class RunLoggers:
    """The loggers of one run, to be entered while Ray runs. One that fails, or does not answer in time, loses no run:
    its first error is said, all are counted, and it is asked again at the next update.

    Args:
        callbacks: by the name of the logger.
        folder: what the loggers write into, a subfolder for each.
        run: the run's name.
        config: the run file, as plain values.
        note: hears of the first error of each logger, and at the end how many there were.
        deadline_s: seconds that a logger may take for one record.

    Attributes:
        failures: how often each logger failed so far.
    """

    def __init__(
        self,
        callbacks: Mapping[str, LoggerCallback],
        folder: Path,
        run: str,
        config: Mapping[str, Any],
        note: Callable[[str], None],
        deadline_s: float = _DEADLINE_S,
    ) -> None:
        self.failures: Counter[str] = Counter()
        self._note, self._deadline_s = note, deadline_s
        self._started: set[str] = set()
        self._callbacks = dict(callbacks)
        self._threads = {name: DeadlineThread(f"logger {name}") for name in callbacks}
        self._trials = {
            name: TuneTrial(f"{run}-{uuid4().hex[:8]}", str((folder / name).resolve()), run, dict(config))
            for name in self._callbacks
        }

    def __enter__(self) -> Self:
        self._each("start", self._start)
        return self

    def log_update(self, record: Mapping[str, Any]) -> None:
        """Every number of an update (a line of metrics.jsonl), named `a/b` where it is nested; the step is `update`."""
        self._log(int(record["update"]), record)

    def log_evaluation(self, updates: int, metrics: Mapping[str, Any]) -> None:
        """Held-out metrics after this many updates, named `evaluation/…`."""
        self._log(updates, {"evaluation": dict(metrics)})

    def log_pictures(self, updates: int, files: Mapping[str, Path]) -> None:
        """PNG files after this many updates, by name, in the loggers that show pictures: W&B and MLflow."""

        def show(name: str) -> None:
            if (log := getattr(self._callbacks[name], "log_pictures", None)) is not None:
                self._start(name)
                log(self._trials[name], updates, files)

        self._each(f"pictures of step {updates}", show)

    def _log(self, step: int, values: Mapping[str, Any]) -> None:
        result = {"/".join(map(str, path)): value for path, value in numbers_of(values)} | {"training_iteration": step}

        def log(name: str) -> None:
            self._start(name)  # where that failed before
            trial = self._trials[name]
            self._callbacks[name].on_trial_result(iteration=step, trials=[trial], trial=trial, result=dict(result))

        self._each(f"step {step}", log)

    def _start(self, name: str) -> None:
        if name in self._started:
            return
        callback, trial = self._callbacks[name], self._trials[name]
        trial.init_local_path()
        callback.setup()
        callback.on_trial_start(iteration=0, trials=[trial], trial=trial)
        self._started.add(name)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        def end(name: str) -> None:
            if name not in self._started:
                return
            callback, trial = self._callbacks[name], self._trials[name]
            tell = callback.on_trial_complete if kind is None else callback.on_trial_error
            tell(iteration=0, trials=[trial], trial=trial)
            callback.on_experiment_end(trials=[trial])

        self._each("end", end)
        for name, count in self.failures.items():
            self._note(f"logger {name} failed {count} times; what it holds is not whole, metrics.jsonl is")

    def _each(self, what: str, call: Callable[[str], None]) -> None:
        for name, thread in self._threads.items():
            problem = thread.run(partial(call, name), self._deadline_s)
            if problem is None:
                continue
            self.failures[name] += 1
            if self.failures[name] == 1:
                self._note(f"logger {name} failed at {what}, the run goes on: {problem}")


def check_loggers(names: Sequence[str]) -> None:
    """Refuse loggers whose package is not installed here.

    Raises:
        BadInput: the message names the package and how to get it.
    """
    for name in names:
        package = LOGGER_PACKAGES[name]
        if find_spec(package) is None:
            raise BadInput(
                f"loggers: {name!r} is refused: the package {package} is not installed here; `pip install {package}`, "
                "or leave it out"
            )


def new_callbacks(names: Sequence[str], folder: Path, run: str) -> dict[str, LoggerCallback]:
    """Tune's callbacks for these loggers, not started; `folder` and `run` as `RunLoggers` has them.

    Raises:
        BadInput: the package of one is not installed, or is one that Ray cannot use.
    """
    check_loggers(names)
    makers = {"tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb}
    callbacks = {}
    for name in names:
        try:
            callbacks[name] = makers[name]((folder / name).resolve(), run)
        except (ImportError, RuntimeError) as error:
            raise BadInput(
                f"loggers: {name!r} is refused: Ray cannot use the installed {LOGGER_PACKAGES[name]}: {error}; "
                f"`pip install -U {LOGGER_PACKAGES[name]}`, or leave it out"
            ) from error
    return callbacks


def _tensorboard(folder: Path, run: str) -> LoggerCallback:
    from ray.tune.logger import TBXLoggerCallback

    return TBXLoggerCallback()


def _mlflow(folder: Path, run: str) -> LoggerCallback:
    from rollout.watching.galleries import MlflowWithPictures

    return MlflowWithPictures(folder)


def _wandb(folder: Path, run: str) -> LoggerCallback:
    from rollout.watching.wandb_logger import OfflineWandb

    return OfflineWandb(folder, upload_timeout_s=_DEADLINE_S / 2)
