import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.flow_sde import FlowSde, FlowSdeScheduler, sde_log_prob, sde_mean_std, sde_step

SHAPE = (3, 5, 4)


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(st.floats(0.05, 1.5), st.integers(2, 30), st.data())
@settings(deadline=None, max_examples=50)
def test_log_prob_is_the_mean_of_the_normal_log_density(eta, steps, data):
    k = data.draw(st.integers(0, steps - 2))
    sigma, sigma_next = 1 - k / steps, 1 - (k + 1) / steps
    dt = sigma_next - sigma
    s = eta * math.sqrt(sigma / (1 - (sigma_next if sigma == 1 else sigma)))
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-11)):
        x, v, noise = (normal(*SHAPE, seed=i).to(dtype) for i in range(3))
        x_next, log_prob = sde_step(x, v, sigma, sigma_next, eta, noise)
        mean = x * (1 + s**2 / (2 * sigma) * dt) + v * (1 + s**2 * (1 - sigma) / (2 * sigma)) * dt
        std = torch.tensor(s * math.sqrt(-dt), dtype=torch.float64)
        expected = torch.distributions.Normal(mean.double(), std).log_prob(x_next.double()).mean((1, 2))
        assert log_prob.shape == (3,)
        assert log_prob.dtype == dtype
        torch.testing.assert_close(x_next, mean + std.to(dtype) * noise, atol=tolerance, rtol=0)
        torch.testing.assert_close(log_prob.double(), expected, atol=tolerance, rtol=0)
        assert torch.equal(sde_log_prob(x, v, sigma, sigma_next, eta, x_next), log_prob)


def test_one_step_by_hand():
    x, v, noise = torch.tensor([[2.0]]), torch.tensor([[3.0]]), torch.tensor([[-1.0]])
    s, dt = 0.8 * math.sqrt(0.5 / 0.5), -0.25
    mean = 2 * (1 + s**2 / 1.0 * dt) + 3 * (1 + s**2 * 0.5 / 1.0) * dt
    x_next, log_prob = sde_step(x, v, 0.5, 0.25, 0.8, noise)
    assert x_next.item() == pytest.approx(mean - s * math.sqrt(0.25), abs=1e-6)
    assert log_prob.item() == pytest.approx(-0.5 - math.log(s * 0.5) - 0.5 * math.log(2 * math.pi), abs=1e-6)


def test_a_coefficient_preserving_step_by_hand():
    x, v, eps = 2.0, 3.0, -1.0
    s = 0.25 * math.sin(0.8 * math.pi / 2)
    mean = 0.75 * (x - 0.5 * v) + math.sqrt(0.25**2 - s**2) * (x + 0.5 * v)
    given_ = (torch.tensor([[x]]).double(), torch.tensor([[v]]).double(), 0.5, 0.25, 0.8)
    x_next, log_prob = sde_step(*given_, torch.tensor([[eps]]).double(), "cps")
    assert x_next.item() == pytest.approx(mean + s * eps, rel=1e-12)
    assert log_prob.item() == pytest.approx(-0.5 * eps**2 - math.log(s) - 0.5 * math.log(2 * math.pi), rel=1e-12)
    assert torch.equal(sde_log_prob(*given_, x_next, "cps"), log_prob)


@given(st.floats(0.05, 1.0), st.floats(0.05, 1.0), st.floats(0.0, 0.99))
@settings(deadline=None)
def test_coefficient_preserving_steps_leave_the_noise_that_the_flow_has(eta, sigma, part):
    """With the exact velocity of one clean point, data weighs 1 − σ_next and all noise together σ_next."""
    clean, noise, sigma_next = 1.7, -0.4, sigma * part
    x, v = ((1 - sigma) * clean + sigma * noise, noise - clean)
    given_ = (torch.tensor([[value]], dtype=torch.float64) for value in (x, v))
    mean, std = sde_mean_std(*given_, sigma, sigma_next, eta, "cps")
    old = math.sqrt(max(0.0, sigma_next**2 - std.item() ** 2))
    assert mean.item() == pytest.approx((1 - sigma_next) * clean + old * noise, abs=1e-12)
    assert old**2 + std.item() ** 2 == pytest.approx(sigma_next**2, abs=1e-12)


def test_the_first_step_has_the_next_sigma_in_its_denominator():
    _, std = sde_mean_std(torch.zeros(SHAPE), torch.zeros(SHAPE), 1.0, 0.75, 0.7)
    assert std.item() == pytest.approx(0.7 * math.sqrt(1 / 0.25) * math.sqrt(0.25), abs=1e-6)


@pytest.mark.parametrize("sigma", [1.0, 0.5, 0.125])
def test_without_noise_the_step_is_the_ode(sigma):
    x, v, noise = (normal(*SHAPE, seed=i) for i in range(3))
    x_next, _ = sde_step(x, v, sigma, sigma - 0.1, 1e-5, noise)
    torch.testing.assert_close(x_next, x - 0.1 * v, atol=5e-5, rtol=0)
    x, v, noise = x.double(), v.double(), noise.double()
    for eta in (1e-2, 1e-3, 1e-4):  # what is left is the noise term of order η; the drift's correction is of order η²
        x_next, _ = sde_step(x, v, sigma, sigma - 0.1, eta, noise)
        noise_term = math.sqrt(sigma / (1 - min(sigma, 0.9)) * 0.1) * noise
        torch.testing.assert_close((x_next - (x - 0.1 * v)) / eta, noise_term, atol=20 * eta, rtol=0)


def test_each_sample_may_have_its_own_sigma():
    x, v, x_next = (normal(*SHAPE, seed=i) for i in range(3))
    sigmas, nexts = torch.tensor([1.0, 0.5, 0.25]), torch.tensor([0.75, 0.25, 0.1])
    together = sde_log_prob(x, v, sigmas, nexts, 0.7, x_next)
    for i in range(3):
        alone = sde_log_prob(x[i : i + 1], v[i : i + 1], float(sigmas[i]), float(nexts[i]), 0.7, x_next[i : i + 1])
        torch.testing.assert_close(together[i], alone[0], atol=1e-6, rtol=1e-6)


def test_the_log_prob_is_differentiable_in_the_velocity():
    x, v, x_next = (normal(*SHAPE, seed=i) for i in range(3))
    v.requires_grad_()
    sde_log_prob(x, v, 0.5, 0.25, 0.7, x_next).sum().backward()
    mean, std = sde_mean_std(x, v.detach(), 0.5, 0.25, 0.7)
    expected = (x_next - mean) / std**2 * (1 + 0.7**2 * 0.5) * -0.25 / 20
    torch.testing.assert_close(v.grad, expected, atol=1e-5, rtol=1e-4)


def test_a_narrow_dtype_gets_the_log_prob_of_what_it_kept():
    x, v, noise = (normal(*SHAPE, seed=i).bfloat16() for i in range(3))
    x_next, log_prob = sde_step(x, v, 0.5, 0.25, 0.7, noise)
    assert x_next.dtype == torch.bfloat16
    assert log_prob.dtype == torch.float32
    assert torch.equal(log_prob, sde_log_prob(x, v, 0.5, 0.25, 0.7, x_next))


@pytest.mark.parametrize(("sigma", "sigma_next"), [(0.25, 0.5), (1.2, 0.5), (0.5, -0.1), (0.5, 0.5)])
def test_steps_that_do_not_go_down_are_refused(sigma, sigma_next):
    with pytest.raises(ValueError, match="0 <= sigma_next < sigma <= 1"):
        sde_mean_std(torch.zeros(SHAPE), torch.zeros(SHAPE), sigma, sigma_next, 0.7)


@dataclass(frozen=True)
class GaussianFlow:
    """Data N(mean, std²), x_σ = (1 − σ)·x₀ + σ·ε, for which the velocity E[ε − x₀ | x_σ] is known exactly."""

    mean: float = 1.5
    std: float = 0.4

    def velocity(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        variance = (1 - sigma) ** 2 * self.std**2 + sigma**2
        centred = x - (1 - sigma) * self.mean
        return (sigma - (1 - sigma) * self.std**2) / variance * centred - self.mean

    def moments(self, sigma: float) -> tuple[float, float]:
        """Mean and variance of x_σ."""
        return (1 - sigma) * self.mean, (1 - sigma) ** 2 * self.std**2 + sigma**2


def trajectory(
    flow: GaussianFlow, scheduler: FlowMatchEulerDiscreteScheduler, steps: int, x: torch.Tensor
) -> list[torch.Tensor]:
    """The latents at σ = 1, 1 − 1/steps, …, 0."""
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps))
    scheduler.set_begin_index(0)
    latents = [x]
    for t in scheduler.timesteps:
        latents.append(
            scheduler.step(flow.velocity(latents[-1], float(t) / 1000), t, latents[-1], return_dict=False)[0]
        )
    return latents


def sample(flow: GaussianFlow, scheduler: FlowMatchEulerDiscreteScheduler, steps: int, x: torch.Tensor) -> torch.Tensor:
    return trajectory(flow, scheduler, steps, x)[-1]


def propagated_moments(flow: GaussianFlow, sigmas: np.ndarray, eta: float) -> list[tuple[float, float]]:
    """Mean and variance at each of `sigmas` of a path that starts in the marginal of sigmas[0].

    A step is linear in x here, so a Gaussian stays one: mean' = a·mean + b, variance' = a²·variance + std².
    """
    points = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    mean, variance = flow.moments(sigmas[0])
    found = [(mean, variance)]
    for sigma, sigma_next in itertools.pairwise(sigmas.tolist()):
        stepped, std = sde_mean_std(points, flow.velocity(points, sigma), sigma, sigma_next, eta)
        intercept, slope = stepped[0].item(), (stepped[1] - stepped[0]).item()
        mean, variance = slope * mean + intercept, slope**2 * variance + std.item() ** 2
        found.append((mean, variance))
    return found


@pytest.mark.parametrize("eta", [1e-6, 0.3, 0.7, 1.0])
def test_the_marginals_of_small_steps_tend_to_those_of_the_flow(eta):
    flow, errors = GaussianFlow(), {}
    for steps in (200, 400):
        sigmas = np.linspace(0.9, 0, steps + 1)
        errors[steps] = 0.0
        for sigma, (mean, variance) in zip(sigmas, propagated_moments(flow, sigmas, eta), strict=True):
            expected_mean, expected_variance = flow.moments(sigma)
            assert mean == pytest.approx(expected_mean, abs=1e-9)
            errors[steps] = max(errors[steps], abs(variance / expected_variance - 1))
    assert errors[200] < 0.02
    assert errors[400] < 0.55 * errors[200]  # first order in the step's length


@pytest.mark.parametrize("eta", [0.3, 0.7])
def test_the_first_step_leaves_more_variance_and_later_ones_pull_it_back(eta):
    flow, steps = GaussianFlow(), 2000
    moments = propagated_moments(flow, np.linspace(1, 0, steps + 1), eta)
    assert moments[1][1] == pytest.approx(1 + eta**4 / 4, rel=2e-3)
    for sigma in (0.75, 0.5, 0.25):
        mean, variance = moments[round((1 - sigma) * steps)]
        assert mean == pytest.approx(flow.moments(sigma)[0], abs=1e-9)
        assert variance == pytest.approx(flow.moments(sigma)[1], rel=0.01)


@pytest.mark.parametrize("eta", [0.3, 0.7])
def test_the_samples_have_the_marginals_of_the_ode_at_every_sigma(eta):
    flow, steps, draws = GaussianFlow(), 200, 20_000
    x = normal(1, draws, 1, seed=0)
    ode = trajectory(flow, FlowMatchEulerDiscreteScheduler(), steps, x)
    scheduler = FlowSdeScheduler()
    scheduler.start(FlowSde(eta, steps), [torch.Generator().manual_seed(1)])
    sde = trajectory(flow, scheduler, steps, x)
    sigmas = np.linspace(1, 0, steps + 1)
    discretised = propagated_moments(flow, sigmas, eta)
    for k in (20, 50, 100, 150, 180, steps):
        mean, variance = flow.moments(sigmas[k])
        discretisation = abs(discretised[k][1] - variance)
        assert discretisation < 0.05 * variance
        mean_error, variance_error = 4 * math.sqrt(variance / draws), 4 * variance * math.sqrt(2 / draws)
        for latents, bias in ((sde[k], discretisation), (ode[k], 0.02 * variance)):
            assert latents.mean().item() == pytest.approx(mean, abs=mean_error)
            assert latents.var().item() == pytest.approx(variance, abs=variance_error + bias)
    assert (sde[-1] - ode[-1]).std() > 0.1  # and yet they are other samples
    recorded = scheduler.paths()[0].latents
    assert recorded.shape == (steps, draws, 1)
    np.testing.assert_array_equal(recorded[50], sde[50][0].numpy())


def run_window(window: tuple[int, int] | None, seeds: list[int], x: torch.Tensor) -> tuple[torch.Tensor, list]:
    scheduler = FlowSdeScheduler()
    scheduler.start(FlowSde(0.7, 8, window), [torch.Generator().manual_seed(seed) for seed in seeds])
    return sample(GaussianFlow(), scheduler, 8, x), scheduler.paths()


def test_the_window_is_stochastic_and_the_rest_is_ode():
    x = normal(2, 6, 4, seed=5)
    _, paths = run_window((2, 5), [1, 2], x)
    assert [len(path) for path in paths] == [3, 3]
    np.testing.assert_allclose(paths[0].sigmas, [0.75, 0.625, 0.5, 0.375])
    before = x
    for sigma in (1.0, 0.875):
        before = before - 0.125 * GaussianFlow().velocity(before, sigma)
    np.testing.assert_allclose(paths[1].latents[0], before[1].numpy(), atol=1e-6)


def test_a_sample_does_not_depend_on_its_batch():
    x = normal(3, 6, 4, seed=5)
    together, paths = run_window(None, [1, 2, 3], x)
    alone, path = run_window(None, [2], x[1:2])
    torch.testing.assert_close(together[1:2], alone, atol=1e-6, rtol=0)
    np.testing.assert_allclose(paths[1].log_probs, path[0].log_probs, atol=1e-6)


def test_a_scheduler_that_was_not_started_is_diffusers_own():
    x = normal(2, 6, 4, seed=5)
    scheduler = FlowSdeScheduler()
    assert torch.equal(
        sample(GaussianFlow(), scheduler, 8, x), sample(GaussianFlow(), FlowMatchEulerDiscreteScheduler(), 8, x)
    )
    assert scheduler.paths() == []


def test_another_number_of_steps_or_samples_is_refused():
    scheduler = FlowSdeScheduler()
    scheduler.start(FlowSde(0.7, 8), [torch.Generator()])
    with pytest.raises(ValueError, match="num_inference_steps is 6; the sampler was given 8"):
        sample(GaussianFlow(), scheduler, 6, torch.zeros(1, 6, 4))
    with pytest.raises(ValueError, match="the batch has 2 samples; the sampler was given 1"):
        sample(GaussianFlow(), scheduler, 8, torch.zeros(2, 6, 4))
    with pytest.raises(RuntimeError, match="0 of 7 stochastic steps"):
        scheduler.paths()
