import math

import numpy as np
import pytest
import torch

from learner.flow_loss import flow_loss, gaussian_divergence

SETTINGS = {"clip_low": 1e-2, "clip_high": 2e-2, "importance_cap": 1.01}


def random_steps(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    log_probs = torch.randn(8, generator=generator)
    return {
        "log_probs": log_probs,
        "behaviour_log_probs": log_probs + 0.03 * torch.randn(8, generator=generator),
        "rollout_log_probs": log_probs + 0.03 * torch.randn(8, generator=generator),
        "advantages": torch.randn(8, generator=generator),
        "divergence": torch.rand(8, generator=generator),
    }


@pytest.mark.parametrize("kl_coefficient", [0.0, 0.04])
@pytest.mark.parametrize("seed", range(3))
def test_loss_equals_the_formula_term_by_term(seed, kl_coefficient):
    steps = random_steps(seed)
    expected = 0.0
    for new, old, sampler, advantage, divergence in zip(*(t.double().tolist() for t in steps.values()), strict=True):
        ratio = math.exp(new - old)
        clip = min(max(ratio, 1 - SETTINGS["clip_low"]), 1 + SETTINGS["clip_high"])
        weight = min(math.exp(old - sampler), SETTINGS["importance_cap"])
        expected += -weight * min(ratio * advantage, clip * advantage) + kl_coefficient * divergence
    loss, sums = flow_loss(**steps, **SETTINGS, kl_coefficient=kl_coefficient)
    assert loss.item() == pytest.approx(expected / 8, rel=1e-4)
    assert sums["count"] == 8


def test_gradient_on_policy_is_that_of_reinforce():
    steps = random_steps()
    log_probs = steps["log_probs"].requires_grad_()
    loss, _ = flow_loss(log_probs, log_probs.detach(), log_probs.detach(), steps["advantages"], **SETTINGS)
    loss.backward()
    torch.testing.assert_close(log_probs.grad, -steps["advantages"] / 8)


def test_divergence_equals_that_of_torchs_normal_distributions():
    mean, reference = torch.randn(2, 3, 64, 16, generator=torch.Generator().manual_seed(0)).double()
    std = torch.tensor([0.2, 0.5, 1.0]).double().reshape(3, 1, 1)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, std), normal(reference, std)).mean((1, 2))
    np.testing.assert_allclose(gaussian_divergence(mean, reference, std).numpy(), expected.numpy(), rtol=1e-6)
    assert (gaussian_divergence(mean, mean, std) == 0).all()


def test_an_empty_batch_and_a_missing_divergence_are_refused():
    steps = random_steps()
    steps.pop("divergence")
    with pytest.raises(ValueError, match=r"kl_coefficient is 0.1"):
        flow_loss(**steps, **SETTINGS, kl_coefficient=0.1)
    with pytest.raises(ValueError, match="no denoising step"):
        flow_loss(**{name: tensor[:0] for name, tensor in steps.items()}, **SETTINGS)
