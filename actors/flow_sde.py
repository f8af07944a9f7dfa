"""Sampling a flow-matching model as an SDE, with the log-probability of each step (Flow-GRPO, arXiv 2505.05470).

σ runs 1 → 0, v is the model's velocity, dt = σ_next − σ < 0, η the noise level:

    s    = η·sqrt(σ / (1 − σ)),  at σ = 1 with σ_next in the denominator
    mean = x·(1 + s²/(2σ)·dt) + v·(1 + s²(1 − σ)/(2σ))·dt
    x'   = mean + s·sqrt(−dt)·ε
    logp = mean over all non-batch dimensions of −(x' − mean)²/(2 s²(−dt)) − log(s·sqrt(−dt)) − ½ log 2π

With coefficient-preserving sampling (arXiv 2509.05952) as the sampler `cps`:

    s    = σ_next·sin(η·π/2)
    mean = (1 − σ_next)·(x − σ·v) + √(σ_next² − s²)·(x + (1 − σ)·v)
    x'   = mean + s·ε

so that what data and noise weigh in x' is (1 − σ_next) and σ_next, as the flow has it, however long the step is.

Everything is computed in float32 (float64 latents stay float64), by the rollout and by the learner with the same
functions. With the SDE, from a σ below 1, many small steps have the ODE's marginal at each σ. The first step, from
σ = 1 where s has its pole, leaves a variance near 1 + η⁴/4, however short it is; later steps pull that back to 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteSchedulerOutput

from actors.flow_path import FlowOde, FlowPath, FlowSde, Sampler

__all__ = [
    "FlowOde",
    "FlowPath",
    "FlowSde",
    "FlowSdeScheduler",
    "sde_log_prob",
    "sde_mean_std",
    "sde_step",
]

Sigma = float | torch.Tensor


def sde_mean_std(
    x: torch.Tensor, v: torch.Tensor, sigma: Sigma, sigma_next: Sigma, eta: float, sampler: Sampler = "sde"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of one step's Gaussian, in float32, or in float64 where x is.

    Args:
        x: (B, …) latents at `sigma`.
        v: (B, …) velocity there.
        sigma: noise level in (0, 1], one number or (B,).
        sigma_next: noise level in [0, sigma), one number or (B,).
        eta: noise level η of the sampler.
        sampler: see the module.

    Returns:
        mean (B, …), and std that broadcasts against it.

    Raises:
        ValueError: not 0 ≤ sigma_next < sigma ≤ 1.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    v = v.to(x.dtype)
    sigma, sigma_next = _per_sample(sigma, x), _per_sample(sigma_next, x)
    if not bool(((sigma_next >= 0) & (sigma_next < sigma) & (sigma <= 1)).all()):
        raise ValueError(
            f"sigma is {sigma.flatten().tolist()} and sigma_next {sigma_next.flatten().tolist()}; "
            "each step needs 0 <= sigma_next < sigma <= 1"
        )
    if sampler == "cps":
        std = sigma_next * math.sin(eta * math.pi / 2)
        clean, noise = x - sigma * v, x + (1 - sigma) * v
        return (1 - sigma_next) * clean + torch.sqrt(sigma_next**2 - std**2) * noise, std
    dt = sigma_next - sigma
    s = eta * torch.sqrt(sigma / (1 - torch.where(sigma == 1, sigma_next, sigma)))
    pull = s**2 / (2 * sigma)
    mean = x * (1 + pull * dt) + v * (1 + pull * (1 - sigma)) * dt
    return mean, s * torch.sqrt(-dt)


def sde_step(
    x: torch.Tensor,
    v: torch.Tensor,
    sigma: Sigma,
    sigma_next: Sigma,
    eta: float,
    noise: torch.Tensor,
    sampler: Sampler = "sde",
) -> tuple[torch.Tensor, torch.Tensor]:
    """One stochastic step with the standard normal `noise` (B, …); arguments as in `sde_mean_std`.

    Returns:
        x_next (B, …) in x's dtype, and the log-probability (B,) of exactly that rounded x_next.
    """
    mean, std = sde_mean_std(x, v, sigma, sigma_next, eta, sampler)
    x_next = (mean + std * noise.to(mean.dtype)).to(x.dtype)
    return x_next, gaussian_log_prob(x_next, mean, std)


def sde_log_prob(
    x: torch.Tensor,
    v: torch.Tensor,
    sigma: Sigma,
    sigma_next: Sigma,
    eta: float,
    x_next: torch.Tensor,
    sampler: Sampler = "sde",
) -> torch.Tensor:
    """Log-probability (B,) of having stepped from x to x_next, in the dtype of the mean; differentiable in v."""
    return gaussian_log_prob(x_next, *sde_mean_std(x, v, sigma, sigma_next, eta, sampler))


def gaussian_log_prob(x_next: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Log-probability (B,) of x_next (B, …) under N(mean, std²), as a mean over all but the first dimension."""
    log_prob = -((x_next.to(mean.dtype) - mean) ** 2) / (2 * std**2) - torch.log(std) - 0.5 * math.log(2 * math.pi)
    return log_prob.flatten(1).mean(1)


def _per_sample(sigma: Sigma, x: torch.Tensor) -> torch.Tensor:
    column = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
    return column.reshape(-1, *[1] * (x.ndim - 1))


@dataclass(frozen=True)
class _Step:
    x: torch.Tensor
    x_next: torch.Tensor
    sigma: float
    sigma_next: float
    log_prob: torch.Tensor


class FlowSdeScheduler(FlowMatchEulerDiscreteScheduler):
    """A drop-in scheduler for diffusers' Flux pipelines that takes SDE steps in a window, and records them; or that
    takes ODE steps alone, and records the clean latent.

    `start` before each pipeline call says what to do; after the call, `paths` gives one FlowPath a sample. Every sample
    draws its noise from its own generator, so that it does not depend on what else is in the batch. Without `start`
    it is the ODE sampler that it derives from.
    """

    _sde: FlowSde | FlowOde | None = None
    _generators: Sequence[torch.Generator] = ()
    _steps: list[_Step]
    _clean: torch.Tensor | None = None

    def start(self, sde: FlowSde | FlowOde, generators: Sequence[torch.Generator]) -> None:
        """Arm the sampler for one pipeline call.

        Args:
            sde: settings; `sde.steps` must be the call's `num_inference_steps`.
            generators: the source of each sample's step noise, in the order of the batch.
        """
        self._sde = sde
        self._generators = list(generators)
        self._steps = []
        self._clean = None

    def paths(self) -> list[FlowPath]:
        """One path for each sample of the last pipeline call; empty if `start` was not called.

        Raises:
            RuntimeError: the pipeline call did not go through all stochastic steps.
        """
        if self._sde is None:
            return []
        if isinstance(self._sde, FlowOde):
            if self._clean is None:
                raise RuntimeError(f"the ODE has not taken its {self._sde.steps} steps; run the pipeline first")
            sigmas, no_steps = self.sigmas.cpu().numpy(), np.zeros(0)
            return [FlowPath(latent, sigmas, no_steps, 0.0) for latent in self._clean.float().cpu().numpy()[:, None]]
        start, stop = self._sde.stochastic_steps
        if len(self._steps) != stop - start:
            raise RuntimeError(
                f"{len(self._steps)} of {stop - start} stochastic steps are taken; run the pipeline first"
            )
        latents = torch.stack([step.x for step in self._steps] + [self._steps[-1].x_next], dim=1).float().cpu().numpy()
        log_probs = torch.stack([step.log_prob for step in self._steps], dim=1).cpu().numpy()
        sigmas = np.array([step.sigma for step in self._steps] + [self._steps[-1].sigma_next])
        return [FlowPath(latents[i], sigmas, log_probs[i], self._sde.eta) for i in range(len(latents))]

    def step(
        self,
        model_output: torch.Tensor,
        timestep: float | torch.Tensor,
        sample: torch.Tensor,
        *args: Any,
        return_dict: bool = True,
        **kwargs: Any,
    ) -> FlowMatchEulerDiscreteSchedulerOutput | tuple[torch.Tensor]:
        """As in diffusers; within the window the step is stochastic and is recorded.

        Raises:
            ValueError: the pipeline's number of steps or batch size is not the one that `start` was given.
        """
        if self._sde is None:
            return super().step(model_output, timestep, sample, *args, return_dict=return_dict, **kwargs)
        if len(self.timesteps) != self._sde.steps:
            raise ValueError(f"num_inference_steps is {len(self.timesteps)}; the sampler was given {self._sde.steps}")
        if len(sample) != len(self._generators):
            raise ValueError(f"the batch has {len(sample)} samples; the sampler was given {len(self._generators)}")
        if self.step_index is None:
            self._init_step_index(timestep)
        if isinstance(self._sde, FlowOde):
            stepped = super().step(model_output, timestep, sample, *args, return_dict=return_dict, **kwargs)
            if self.step_index == self._sde.steps:
                self._clean = stepped[0]
            return stepped
        start, stop = self._sde.stochastic_steps
        if not start <= self.step_index < stop:
            return super().step(model_output, timestep, sample, *args, return_dict=return_dict, **kwargs)
        sigma, sigma_next = (float(self.sigmas[self.step_index + i]) for i in (0, 1))
        noise = torch.stack([torch.randn(sample.shape[1:], generator=generator) for generator in self._generators])
        how = (sigma, sigma_next, self._sde.eta, noise.to(sample.device), self._sde.sampler)
        x_next, log_prob = sde_step(sample, model_output, *how)
        self._steps.append(_Step(sample, x_next, sigma, sigma_next, log_prob))
        self._step_index += 1
        return FlowMatchEulerDiscreteSchedulerOutput(prev_sample=x_next) if return_dict else (x_next,)
