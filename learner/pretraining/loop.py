"""The optimisation loop that every small model is trained with: cosine decay, progress, checkpoints, resume."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

StepFunction = Callable[[np.random.Generator, int], dict[str, torch.Tensor]]


@dataclass(frozen=True)
class LoopSettings:
    """Settings of one training loop. `checkpoint_every` and `log_every` are in steps."""

    steps: int
    learning_rate: float = 1e-3
    warmup: int = 50
    final_fraction: float = 0.05
    weight_decay: float = 0.01
    seed: int = 0
    log_every: int = 20
    checkpoint_every: int = 100
    ema: float = 0.0
    muon: tuple[str, ...] = ()


def learning_rate_factor(step: int, settings: LoopSettings) -> float:
    """Linear warm-up, then a cosine from 1 to `final_fraction`."""
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    progress = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return settings.final_fraction + (1 - settings.final_fraction) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def new_optimizers(modules: dict[str, torch.nn.Module], settings: LoopSettings) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon (arXiv 2502.16982, its step scaled to that of AdamW) for the matrices whose name holds one of
    the parts `muon`: those inside blocks, not embeddings, heads or small tables."""
    named = [item for module in modules.values() for item in module.named_parameters() if item[1].requires_grad]
    inside = [
        p for name, p in named if p.ndim == 2 and any(part in name for part in settings.muon) and min(p.shape) >= 32
    ]
    held = {id(p) for p in inside}
    others = [p for _, p in named if id(p) not in held]
    decay = settings.weight_decay
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(others, lr=settings.learning_rate, betas=(0.9, 0.99), weight_decay=decay)
    ]
    if inside:
        optimizers.append(
            torch.optim.Muon(inside, settings.learning_rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        )
    return optimizers


def run_loop(
    name: str, modules: dict[str, torch.nn.Module], step_function: StepFunction, settings: LoopSettings, work_dir: Path
) -> None:
    """Train `modules` in place, resuming from `work_dir/NAME.pt` where it exists.

    `step_function(rng, step)` returns a dictionary whose entry `loss` is minimised; the others are logged. The
    random numbers of a step depend on the seed and on the step alone, so a resumed run continues the same run. With
    `ema` above 0 the modules end with the exponential moving average of their weights.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    checkpoint, log = work_dir / f"{name}.pt", work_dir / f"{name}.log"
    parameters = [p for module in modules.values() for p in module.parameters() if p.requires_grad]
    optimizers = new_optimizers(modules, settings)
    averages = [p.detach().clone() for p in parameters] if settings.ema else []
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        for key, module in modules.items():
            module.load_state_dict(state["modules"][key])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for average, saved in zip(averages, state["averages"], strict=True):
            average.copy_(saved)
        first = state["step"]
        print(f"{name}: resumed at step {first}", flush=True)
    started = time.monotonic()
    for step in range(first, settings.steps):
        factor = learning_rate_factor(step, settings)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * factor
        torch.manual_seed(settings.seed * 1_000_003 + step)
        results = step_function(np.random.default_rng([settings.seed, step]), step)
        loss = results["loss"]
        if not torch.isfinite(loss):
            raise RuntimeError(f"{name}: the loss is {loss.item()} at step {step}")
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in optimizers:
            optimizer.step()
        decay = min(settings.ema, (1 + step) / (10 + step))
        for average, parameter in zip(averages, parameters, strict=False):
            average.lerp_(parameter.detach(), 1 - decay)
        done = step + 1
        if done % settings.log_every == 0 or done == settings.steps:
            each = (time.monotonic() - started) / (done - first)
            line = {"step": done, "of": settings.steps, "seconds_each": round(each, 3)}
            line["minutes_left"] = round(each * (settings.steps - done) / 60, 1)
            line |= {key: round(float(value), 5) for key, value in results.items()}
            print(f"{name}: {json.dumps(line)}", flush=True)
            with log.open("a") as file:
                file.write(json.dumps(line) + "\n")
        if done % settings.checkpoint_every == 0 or done == settings.steps:
            state = {
                "modules": {key: module.state_dict() for key, module in modules.items()},
                "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                "averages": averages,
                "step": done,
            }
            torch.save(state, checkpoint.with_suffix(".tmp"))
            os.replace(checkpoint.with_suffix(".tmp"), checkpoint)
    for average, parameter in zip(averages, parameters, strict=False):
        parameter.data.copy_(average)
