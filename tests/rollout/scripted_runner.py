"""A runner of jobs whose models answer by script. Alone in its file, so that its processes load nothing else."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from presets.images import EditorConfig
from presets.settings import RolloutConfig
from rollout.groups.job import Job
from rollout.groups.sampler import GroupSampler
from rollout.trajectory import to_table
from tests.rollout.scripted_models import ScriptedModels


class Runner:
    """An EnvRunner without RLlib, which takes seconds to load. It answers RLlib's manager as `FaultAwareApply` does."""

    jobs = 0

    def __init__(self, **_: Any) -> None: ...

    def ping(self) -> str:
        return "pong"

    def apply(self, func: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        return func(self, *arguments, **named)

    def pid(self) -> int:
        return os.getpid()


class Sampling:
    """Samples with scripted models after up to `wait_s`, 2 s later where prompt number `slow` is among them, or with an
    error for prompt number `broken`, in every other job of a `flaky` runner, and in the process whose number is in the
    file `sick`: the first that looks."""

    def __init__(
        self,
        settings: RolloutConfig,
        wait_s: float = 0.0,
        broken: int | None = None,
        slow: int | None = None,
        sick: Path | None = None,
        flaky: bool = False,
    ) -> None:
        self.settings, self.wait_s, self.broken, self.slow = settings, wait_s, broken, slow
        self.sick, self.flaky = sick, flaky

    def __call__(self, runner, job):
        if self.sick is not None:
            if not self.sick.exists():
                self.sick.write_text(str(os.getpid()))
            if self.sick.read_text() == str(os.getpid()):
                raise MemoryError("there is no more")
        runner.jobs += not job.ahead
        if self.flaky and not job.ahead and runner.jobs % 2:
            raise ConnectionError("try again")
        time.sleep(random.uniform(0, self.wait_s))
        if self.slow in [one.prompt for one in job.prompts]:
            time.sleep(2.0)
        if self.broken in [one.prompt for one in job.prompts]:
            raise ValueError("the canvas tore")
        return answer(self.settings, job)


class GatedSampling:
    """Samples with scripted models, once no file called `gate` is there."""

    def __init__(self, settings: RolloutConfig, gate: str, deadline_s: float) -> None:
        self.settings, self.gate, self.deadline_s = settings, gate, deadline_s

    def __call__(self, runner, job):
        ends = time.monotonic() + self.deadline_s
        while Path(self.gate).exists() and time.monotonic() < ends:
            time.sleep(0.05)
        return answer(self.settings, job)


def answer(settings: RolloutConfig, job: Job) -> Any:
    """What scripted models make of a job."""
    sampler = GroupSampler(ScriptedModels(), settings, EditorConfig())
    return sampler.draw(job) if job.ahead else to_table(sampler.sample(job))
