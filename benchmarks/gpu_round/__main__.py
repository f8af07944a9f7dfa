"""What a round of `presets/one-gpu.yaml` costs on one card, with random weights of the real sizes, without a download.

    .venv/bin/python -m benchmarks.gpu_round [--size real] [--device cuda] [--out gpu_round.json]

In turns, as the preset has it: FLUX.2 klein draws and edits with stochastic steps, one engine of vLLM is Actor and
Checker, then each policy's learner makes an update and gives its adapter to the replicas. Then an editor of FLUX.1
Kontext's size edits and learns. It prints images a second, MFU, the peak of memory beside what `rlrig plan` says of it,
and the seconds of each switch and sync, writes them to one file, and says what was to be reached. A part that fails is
named there; the others are measured all the same, and the exit code is 1.

At size `tiny` the models are those of `benchmarks.tiny_families`; `small` has the real architectures and vocabularies
with narrow, few layers. Both run on a CPU, where memory and what compares with a card's peak is not known.
"""

from __future__ import annotations

import os
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import typer
from rich.console import Console

from benchmarks.gpu_round.flops import peak_tflops
from benchmarks.gpu_round.found import KONTEXT, Found, Memory
from benchmarks.gpu_round.memory import CardWatch, planned_phases, planned_roles
from benchmarks.gpu_round.sizes import PRESET, SIZES, Device, Size, build, round_config
from benchmarks.gpu_round.turns import MOVES, Turns, sde_of
from presets.run_config import RunConfig
from rollout.learning.devices import refuse_apart
from rollout.local_ray import ray_for_run
from rollout.models import start_models
from rollout.progress import Progress

_KONTEXT_S = 200.0  # what it may take on a card


class Shown(Progress):
    """Says the seconds of each phase as it ends, and keeps them.

    Attributes:
        each: seconds of every phase of a name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.each: defaultdict[str, list[float]] = defaultdict(list)

    def _on_phase_end(self, name: str, seconds: float) -> None:
        self.each[name].append(seconds)
        print(f"{name}: {seconds:.2f} s", flush=True)


def main(
    size: Annotated[Size, typer.Option(help="Of the models.")] = "real",
    device: Annotated[Device, typer.Option(help="Where they run.")] = "cuda",
    out: Annotated[Path, typer.Option(help="File that is written.")] = Path("gpu_round.json"),
    folder: Annotated[Path | None, typer.Option(help="For models, which stay. Default: they are removed.")] = None,
    kontext: Annotated[bool | None, typer.Option(help="Also Kontext's size. Default: with size real.")] = None,
    limit_s: Annotated[float, typer.Option(help="Seconds after which Kontext's size is left out.")] = 480.0,
) -> None:
    """Measure a round, write what came out, and show it."""
    began, console = time.monotonic(), Console(width=120)
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # one card
    if device == "cuda" and not torch.cuda.is_available():
        raise typer.BadParameter("torch sees no GPU here; give --device cpu --size tiny", param_hint="--device")
    if device == "cpu" and size == "real":
        raise typer.BadParameter("real sizes need a GPU; give tiny or small", param_hint="--size")
    if not out.resolve().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {out.resolve().parent}; make it first", param_hint="--out")
    progress = Shown()
    with _models(folder, f"round-{size}") as place:
        with progress.phase("make models"):
            build(size, place, device)
        config, on_card = (round_config(size, place, where) for where in (device, "cuda"))
        found = _begin(size, device, config)
        with _part("round", found, progress, out):
            _round(config, on_card, found, progress, out, place)
    left = limit_s - (time.monotonic() - began)
    wanted = size == "real" if kontext is None else kontext
    if wanted and left < _KONTEXT_S:
        found.skipped.append(f"{KONTEXT}: {left:.0f} s of --limit-s are left, and it may take {_KONTEXT_S:g} s")
    elif wanted:
        from benchmarks.gpu_round.kontext import add_kontext  # it loads what a round leaves to its models

        with _models(folder, f"kontext-{size}") as place, _part(KONTEXT, found, progress, out), progress.phase(KONTEXT):
            add_kontext(found, place, size, device)
    _write(found, progress, out)
    found.show(console)
    console.print(f"{out}: written, {time.monotonic() - began:.0f} s in all")
    if found.failed:
        raise typer.Exit(1)


@contextmanager
def _models(folder: Path | None, name: str) -> Iterator[Path]:
    """Where models are made; it is removed where nobody asked for it, so that the next ones have room on the disk."""
    if folder is not None:
        yield folder / name
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made) / name


def _begin(size: Size, device: Device, config: RunConfig) -> Found:
    card = torch.cuda.get_device_name(0) if device == "cuda" else None
    sizing = SIZES[size]
    settings = {
        "preset": PRESET,
        "image_size": config.diffuser.size.plain,
        "prompts": sizing.prompts,
        "group_size": sizing.group,
        "steps": config.editor.steps,
        "stochastic_steps": list(sde_of(config).stochastic_steps),
        "dtype": config.editor.dtype,
    }
    peak = None if card is None else peak_tflops(card)
    return Found(size, device, card, torch.__version__, peak, settings)


def _round(config: RunConfig, on_card: RunConfig, found: Found, progress: Shown, out: Path, folder: Path) -> None:
    sizing = SIZES[found.size]
    gib = torch.cuda.get_device_properties(0).total_memory / 2**30 if found.card else None
    planned, phases = planned_roles(on_card, gib), planned_phases(on_card, gib)
    with CardWatch(found.card is not None) as watch, ExitStack() as ray:  # whose end is that of the models
        with progress.phase("start Ray"):
            ray.enter_context(ray_for_run(config.ray, config.gpu_learner))
        with progress.phase("start models"):
            models = start_models(config, progress)
        refuse_apart({**models.gpus()}, config)
        turns = Turns(config, models, progress, watch, planned, found, folder / "policies")
        sampled = turns.rollout(sizing.prompts, sizing.group)
        for policy, samples in (("actor", sampled.answers), ("editor", sampled.edits)):
            with _part(f"update of the {policy}", found, progress, out):
                turns.update(policy, samples)
        found.phases = [Memory(f"card: {name}", turns.card.get(name), size) for name, size in phases.items()]


@contextmanager
def _part(name: str, found: Found, progress: Shown, out: Path) -> Iterator[None]:
    """Something that others do without: where it fails, that is kept, and told at the end."""
    try:
        yield
    except Exception as error:
        traceback.print_exc()
        found.failed.append(f"{name}: {type(error).__name__}: {error}")
    _write(found, progress, out)


def _write(found: Found, progress: Shown, out: Path) -> None:
    found.seconds = progress.total_seconds_by_phase()
    found.switches = {name: each for name, each in progress.each.items() if name.endswith(MOVES)}
    found.write(out)


if __name__ == "__main__":
    typer.run(main)
