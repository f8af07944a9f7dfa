"""What a learner's update costs beside a plain PyTorch loop over the same passes, and where the difference goes.

    .venv/bin/python -m benchmarks.learner_step [--policy actor|editor] [--samples N] [--repeats R]

Three ways take turns on the same samples: a plain loop (forward, loss, backward, clip, AdamW), a `LearnerRank` in this
process, and a `Learner`, whose rank is a Ray actor. Reported are medians over the repeats.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("DS_ACCELERATOR", "cpu")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, Literal

import psutil
import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.clock import Clock, Seconds, total
from benchmarks.training_batches import actor_batch, editor_batch
from learner import rank as learner_rank
from learner.config import LearnerConfig
from learner.policy import new_policy
from learner.rank import LearnerRank
from learner.ranks import Learner
from presets.run_config import RunConfig
from presets.run_file import load_config
from scenes.pictures.size import PictureSize

_LOOPBACK = "127.0.0.1"
_PARTS = ("forward and loss", "backward", "clip and AdamW", "processor and batches", "checksums", "all else")


class PlainLoop:
    """Nothing but PyTorch: the passes are ready, the optimizer is AdamW."""

    def __init__(self, policy: Any, samples: Sequence[Any], config: LearnerConfig) -> None:
        self._policy, self._config = policy, config
        self._batches = policy.batches(samples)
        self._count = sum(batch.count for batch in self._batches)
        self._parameters = [p for p in policy.module.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(
            self._parameters, config.learning_rate, config.betas, weight_decay=config.weight_decay
        )

    @property
    def passes(self) -> int:
        """Forward passes of one update."""
        return len(self._batches)

    def update(self) -> dict[str, Seconds]:
        """One optimizer step over all passes; its seconds by part."""
        clock = Clock()
        for batch in self._batches:
            with clock.part("forward and loss"):
                evaluation = self._policy.evaluate(self._policy.module, batch)
                loss, _ = self._policy.loss(batch, evaluation, self._policy.anchor(evaluation).detach(), self._count)
            with clock.part("backward"):
                loss.backward()
        with clock.part("clip and AdamW"):
            torch.nn.utils.clip_grad_norm_(self._parameters, self._config.max_grad_norm)
            self._optimizer.step()
            self._optimizer.zero_grad()
        return clock.take()


class RankHere:
    """A `LearnerRank` in this process, with a clock at each of its parts."""

    def __init__(
        self, policy: str, model: str, config: LearnerConfig, settings: dict[str, Any], samples: Sequence[Any]
    ) -> None:
        self._samples, self._clock = samples, Clock()
        self._rank = LearnerRank(policy, model, config, settings, 0)
        self._rank.start(_LOOPBACK, self._rank.listen(_LOOPBACK))
        for owner, method, part in (
            (self._rank._policy, "batches", "processor and batches"),
            (self._rank._policy, "evaluate", "forward and loss"),
            (self._rank._policy, "loss", "forward and loss"),
            (self._rank._engine, "backward", "backward"),
            (learner_rank, "step", "clip and AdamW"),
            (self._rank, "_checksums", "checksums"),
        ):
            self._clock.watch(owner, method, part)

    def update(self) -> dict[str, Seconds]:
        """One update; its seconds by part."""
        with self._clock.part("all else"):
            self._rank.update(self._samples)
        return self._clock.take()

    def close(self) -> None:
        """Leave the process group."""
        self._rank.stop()


class RankInRay:
    """A `Learner`: the same rank as a Ray actor, to which the samples travel."""

    def __init__(
        self, policy: str, model: str, config: LearnerConfig, settings: dict[str, Any], samples: Sequence[Any]
    ) -> None:
        self._samples = samples
        self._learner = Learner(policy, model, config, settings)
        self._process = psutil.Process(self._learner.sites[0].process)

    def update(self) -> dict[str, Seconds]:
        """One update. `rank` is what the rank's process did, `transfer` what the caller waited beyond that."""
        cpu, began = self._cpu(), time.perf_counter()
        stats = self._learner.update(self._samples)
        wall = time.perf_counter() - began
        rank = Seconds(stats.compute_seconds, self._cpu() - cpu)
        return {"rank": rank, "transfer": Seconds(wall - stats.compute_seconds, 0.0)}

    def close(self) -> None:
        """End the rank's process."""
        self._learner.close()

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


def median(runs: Sequence[dict[str, Seconds]]) -> dict[str, Seconds]:
    """The median of each part, wall clock and CPU apart."""
    return {
        name: Seconds(*(statistics.median(getattr(run[name], kind) for run in runs) for kind in ("wall", "cpu")))
        for name in runs[0]
    }


def ways_table(title: str, ways: dict[str, dict[str, Seconds]]) -> Table:
    """Seconds of an update by each way, and their ratio to the first."""
    table = Table("", "wall s", "CPU s", "wall ratio", "CPU ratio", title=title, title_justify="left")
    plain = total(next(iter(ways.values())))
    for name, parts in ways.items():
        spent = total(parts)
        ratios = (f"{spent.wall / plain.wall:.3f}", f"{spent.cpu / plain.cpu:.3f}")
        table.add_row(name, f"{spent.wall:.3f}", f"{spent.cpu:.3f}", *ratios)
    return table


def parts_table(plain: dict[str, Seconds], rank: dict[str, Seconds]) -> Table:
    """CPU seconds by part, and what each part adds to the plain loop's update, in per cent of that."""
    table = Table("CPU s by part", "plain loop", "LearnerRank", "adds %")
    whole = total(plain).cpu
    for name in _PARTS:
        ours, theirs = plain.get(name, Seconds()).cpu, rank.get(name, Seconds()).cpu
        table.add_row(name, f"{ours:.3f}", f"{theirs:.3f}", f"{100 * (theirs - ours) / whole:+.1f}")
    return table


def measure(
    policy: str, config: LearnerConfig, model: str, samples: Sequence[Any], repeats: int, with_ray: bool
) -> tuple[dict[str, dict[str, Seconds]], int]:
    """Medians of each way's update by part after one that is not counted, and the number of passes."""
    settings = {"image_size": PictureSize.of_image(samples[0].image).plain} if policy == "editor" else {}
    with ExitStack() as opened:
        plain = PlainLoop(new_policy(policy, model, config, settings), samples, config)
        here = RankHere(policy, model, config, settings, samples)
        opened.callback(here.close)
        ways: dict[str, Callable[[], dict[str, Seconds]]] = {"plain loop": plain.update, "LearnerRank": here.update}
        if with_ray:
            there = RankInRay(policy, model, config, settings, samples)
            opened.callback(there.close)
            ways["Learner in Ray"] = there.update
        runs = [{name: update() for name, update in ways.items()} for _ in range(repeats + 1)][1:]
    return {name: median([run[name] for run in runs]) for name in ways}, plain.passes


def main(
    policy: Annotated[Literal["actor", "editor"] | None, typer.Option(help="Only this policy.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Answers or edits in the update.")] = 128,
    repeats: Annotated[int, typer.Option(min=1, help="Updates that are counted.")] = 5,
    ray: Annotated[bool, typer.Option(help="Also the learner as a Ray actor.")] = True,
    preset: Annotated[Path, typer.Option(help="Run file.")] = Path("presets/tiny/run.yaml"),
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set one key.")] = None,
) -> None:
    """Time one update of each policy."""
    run = load_config(preset, changes or [])
    for name in [policy] if policy else ["actor", "editor"]:
        # A process can be in one process group only, so each policy has a process of its own.
        worker = get_context("spawn").Process(target=report, args=(name, run, samples, repeats, ray))
        worker.start()
        worker.join()
        if worker.exitcode:
            raise typer.Exit(1)


def report(policy: str, run: RunConfig, samples: int, repeats: int, with_ray: bool) -> None:
    """Measure one policy and print the tables."""
    config: LearnerConfig = getattr(run.learner, policy)
    torch.set_num_threads(config.threads)
    model = run.models.actor if policy == "actor" else run.models.edits_with
    batch = (actor_batch if policy == "actor" else editor_batch)(run, samples)
    with _ray(run.ray.num_cpus) if with_ray else nullcontext():
        ways, passes = measure(policy, config, model, batch, repeats, with_ray)
    title = f"{policy}: {samples} samples, {passes} passes of at most {config.micro_batch}, median of {repeats}"
    console = Console(width=120)
    console.print(ways_table(title, ways))
    console.print(parts_table(ways["plain loop"], ways["LearnerRank"]))
    if with_ray:
        seconds = ways["Learner in Ray"]["transfer"].wall
        console.print(f"samples to the Ray actor, statistics back: {seconds:.3f} s of wall clock")


@contextmanager
def _ray(num_cpus: float) -> Iterator[None]:
    import ray

    ray.init(
        num_cpus=num_cpus,
        include_dashboard=False,
        object_store_memory=200 << 20,
        log_to_driver=False,
        runtime_env={"env_vars": {"TRANSFORMERS_VERBOSITY": "error"}},
    )
    try:
        yield
    finally:
        ray.shutdown()


if __name__ == "__main__":
    typer.run(main)
