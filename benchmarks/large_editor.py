"""What an editor of FLUX.1 Kontext's size costs on one GPU: seconds, memory beside what `rlrig plan` says of it, and
how well learner and worker agree.

    .venv/bin/python -m benchmarks.large_editor [--folder F] [--blocks 0.1] [--device cpu]

A model with random weights is made in `--folder` where there is none. Then one worker edits with the stochastic sampler
of the preset, the learner (one rank, ZeRO 2) makes two updates of the adapter from that, and a new worker takes the
first of them and edits again. Worker and learner are never there together, so that one GPU is enough.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import numpy as np
import ray
import torch
import typer
from rich.console import Console
from rich.table import Table

from actors.edit import Edit
from actors.fleet import Fleet
from actors.flow_path import FlowSde
from actors.inverse_diffuser import InverseDiffuser
from benchmarks.random_flux import build
from benchmarks.training_batches import editor_sample
from learner.ranks import Learner
from learner.samples import EditorSample
from learner.stats import LearnerStats
from presets.memory.estimate import Estimate
from presets.memory.image_models import WORKER_BATCH, image_worker
from presets.memory.learners import learner_rank
from presets.memory.sizes import Sizes
from presets.run_config import RunConfig
from presets.run_file import load_config
from weights.receipts import verify_receipts

_DEADLINE_S = 900.0
_PROMPTS = ("move the red mug to the left of the laptop", "put the cat under the table")


class Measured:
    """What was measured, in the order of the steps; `show` prints it as a table and as one line of JSON."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def add(self, name: str, value: float) -> None:
        """Keep a value and say it at once."""
        self.values[name] = value
        print(f"{name}: {value:.6g}", flush=True)

    def show(self, title: str) -> None:
        """Print everything."""
        table = Table("what", "value", title=title)
        for name, value in self.values.items():
            table.add_row(name, f"{value:.4g}")
        Console().print(table)
        print(json.dumps({"title": title, **self.values}), flush=True)


@dataclass(frozen=True)
class Costs:
    """What editing and learning from it took.

    Attributes:
        config: in which it was measured.
        edits: how many.
        edit_s: of one of them, stochastic.
        updates: from all of them, one after the other.
        held: bytes of GPU memory at most, of the worker and of the learner; 0 on a CPU.
        planned: what `rlrig plan` says of them.
    """

    config: RunConfig
    edits: int
    edit_s: float
    updates: tuple[LearnerStats, ...]
    held: dict[str, int]
    planned: dict[str, Estimate]


def main(
    preset: Annotated[Path, typer.Option(help="Run file.")] = Path("presets/eight-gpus.yaml"),
    folder: Annotated[Path | None, typer.Option(help="Pipeline; made where there is none. Default: a new one.")] = None,
    blocks: Annotated[float, typer.Option(help="Part of the model's blocks.", min=0, max=1)] = 1.0,
    edits: Annotated[int, typer.Option(help="Edits to learn from, half of a prompt each.", min=2)] = 16,
    image_size: Annotated[int | None, typer.Option(help="Pixels; default the preset's.")] = None,
    device: Annotated[str, typer.Option(help="cuda or cpu.")] = "cuda",
) -> None:
    """Measure, and print what came out."""
    measured = Measured()
    where = folder or Path(tempfile.mkdtemp()) / "flux"
    costs = measure(preset, where, measured, blocks, edits, image_size, device)
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    size = costs.config.diffuser.size
    measured.show(
        f"{name}: {blocks:g} of the blocks, {size.width}×{size.height} pixels, {edits} edits, torch {torch.__version__}"
    )


def measure(
    preset: Path,
    folder: Path,
    measured: Measured,
    blocks: float = 1.0,
    edits: int = 16,
    image_size: int | None = None,
    device: str = "cuda",
    again: bool = True,
) -> Costs:
    """See the module; it starts a Ray and ends it.

    Args:
        again: let a new worker take the adapter and edit, too.
    """
    gpus = int(device == "cuda")
    if not (folder / "model_index.json").is_file():
        began = time.monotonic()
        build(folder, blocks, device)
        measured.add("make model, s", time.monotonic() - began)
        if gpus:
            torch.cuda.empty_cache()
    config = editor_config(preset, folder, image_size, gpus)
    size = config.diffuser.size
    sources = [np.random.default_rng(k % 2).integers(0, 256, size.shape, dtype=np.uint8) for k in range(edits)]
    ray.init(num_cpus=4, num_gpus=gpus, include_dashboard=False, object_store_memory=2 << 30, log_to_driver=False)
    try:
        return _measure(config, str(folder), sources, gpus, measured, again)
    finally:
        ray.shutdown()


def editor_config(preset: Path, folder: Path, image_size: int | None, gpus: int) -> RunConfig:
    """A preset whose editor is the pipeline in `folder`, with worker and learner alone on so many GPUs."""
    one_rank = [f"learner.editor.{value}" for value in ("ranks=1", "zero_stage=2", f"gpus_per_rank={gpus}")]
    alone = ["data.source=shape_world", "data.path=null", "placement.share=[]"]
    sizes = [] if image_size is None else [f"diffuser.{key}={image_size}" for key in ("width", "height")]
    return load_config(preset, [f"models.flux={folder}", f"models.editor={folder}", *one_rank, *alone, *sizes])


def _measure(
    config: RunConfig, folder: str, sources: list[np.ndarray], gpus: int, measured: Measured, again: bool
) -> Costs:
    settings = {"image_size": config.diffuser.size.plain, **config.editor.model_settings}
    sde = FlowSde(config.editor.eta, config.editor.steps, config.editor.sde_window)
    prompts = [_PROMPTS[k % 2] for k in range(len(sources))]

    def worker(name: str) -> Fleet:
        began = time.monotonic()
        device = {"device": "cuda" if gpus else "cpu", "dtype": config.editor.dtype}
        options = {"num_cpus": 1, "num_gpus": gpus}
        fleet = Fleet.start(
            InverseDiffuser, 1, options, _DEADLINE_S, 0.0, _DEADLINE_S, path=folder, **settings, **device
        )
        measured.add(f"{name}: load, s", time.monotonic() - began)
        fleet.broadcast("peak_gpu_bytes")
        return fleet

    def edit(name: str, fleet: Fleet, seed: int, **how: Any) -> tuple[list[Edit], float]:
        fleet.edit(sources[:1], prompts[:1], [0], **how)  # kernels are chosen and compiled
        before = fleet.compute_seconds
        found = fleet.edit(sources, prompts, [seed + k for k in range(len(sources))], **how)
        each = (fleet.compute_seconds - before) / len(found)
        measured.add(f"{name}: an edit, s", each)
        return found, each

    def samples(found: list[Edit]) -> list[EditorSample]:
        signs = [1.0 if k % 4 < 2 else -1.0 for k in range(len(found))]
        return [editor_sample(*parts) for parts in zip(sources, prompts, found, signs, strict=True)]

    fleet = worker("worker")
    found, edit_s = edit(f"worker, {sde.steps} steps, stochastic", fleet, 1, sde=sde)
    first = samples(found)
    if gpus:
        edit(f"worker, {config.editor.evaluation_steps} steps", fleet, 1, steps=config.editor.evaluation_steps)
    held = {"worker": max(fleet.broadcast("peak_gpu_bytes").values())}
    fleet.close()
    began = time.monotonic()
    with Learner("editor", folder, config.learner.editor, settings) as learner:
        measured.add("learner: load, s", time.monotonic() - began)
        updates = [learner.update(first)]
        _learned("learner, first update", updates[0], measured)
        update = learner.weights(1)
        measured.add("adapter, MB", sum(spec.nbytes for spec in update.manifest.tensors) / 1e6)
        updates.append(learner.update([replace(sample, advantage=-sample.advantage) for sample in first]))
        _learned("learner, second update", updates[1], measured)
        held["learner"] = max(stats.gpu_bytes for stats in updates)
        # Buckets end with the rank that put them.
        kept = [np.array(ray.get(bucket, timeout=_DEADLINE_S)) for bucket in update.buckets]
    sizes = Sizes()
    batch = min(WORKER_BATCH, len(sources))
    planned = {
        "worker": image_worker(config, "editor", sizes, batch=batch),
        "learner": learner_rank(config, "editor", sizes),
    }
    for name in held if gpus else ():
        _beside_plan(name, held[name], planned[name], measured)
    costs = Costs(config, len(first), edit_s, tuple(updates), held, planned)
    if not again:
        return costs
    update = replace(update, buckets=[ray.put(bucket) for bucket in kept])
    fleet = worker("worker with adapter")
    began = time.monotonic()
    verify_receipts(update.manifest, fleet.apply_weights(update), fleet.names)
    measured.add("worker with adapter: adapter proven, s", time.monotonic() - began)
    second = samples(edit(f"worker with adapter, {sde.steps} steps, stochastic", fleet, 1, sde=sde)[0])
    moved = [np.abs(a.path.latents - b.path.latents).max() for a, b in zip(first, second, strict=True)]
    measured.add("adapter moves latents by, at most", float(max(moved)))
    fleet.close()
    return costs


def _learned(name: str, stats: Any, measured: Measured) -> None:
    measured.add(f"{name}: s", stats.compute_seconds)
    measured.add(f"{name}: mismatch of log-probabilities, mean", stats.logprob_mismatch_mean)
    measured.add(f"{name}: mismatch of log-probabilities, at most", stats.logprob_mismatch_max)
    measured.add(f"{name}: gradient norm", stats.gradient_norm)
    measured.add(f"{name}: tensors changed", stats.tensors_changed)


def _beside_plan(name: str, held: int, plan: Estimate, measured: Measured) -> None:
    measured.add(f"{name}: GPU memory, GiB", held / 2**30)
    measured.add(f"{name}: GPU memory as planned, GiB", plan.known / 2**30)
    for part, size in plan.parts().items():
        if size:
            measured.add(f"{name}: of that {part}, GiB", size / 2**30)


if __name__ == "__main__":
    typer.run(main)
