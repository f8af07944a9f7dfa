"""An update of a policy with nothing but torch, and its comparison with the learner's."""

import pytest
import torch

from weights.manifest import unpack

RATE = 1e-3


def weights(learner) -> dict[str, torch.Tensor]:
    return dict(unpack(learner.weights()))


class PlainUpdates:
    """AdamW, no DeepSpeed, on one process."""

    def __init__(self, policy, rate: float = RATE, max_norm: float = 1.0) -> None:
        self.policy, self.max_norm = policy, max_norm
        self.trained = [parameter for parameter in policy.module.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=rate, weight_decay=0.0)

    def update(self, samples) -> tuple[dict[str, torch.Tensor], float]:
        """One step. What trains after it, and the gradient's norm."""
        batches = self.policy.batches(samples)
        total = sum(batch.count for batch in batches)
        self.optimizer.zero_grad()
        for batch in batches:
            evaluation = self.policy.evaluate(self.policy.module, batch)
            self.policy.loss(batch, evaluation, self.policy.anchor(evaluation).detach(), total)[0].backward()
        norm = torch.nn.utils.clip_grad_norm_(self.trained, self.max_norm).item()
        self.optimizer.step()
        return {name: tensor.detach() for name, tensor in self.policy.weights.tensors().items()}, norm


def assert_same_step(learner, stats, plain, rate: float = RATE) -> None:
    """AdamW's first step divides a gradient by its own size, so rounding shows where a gradient is nearly zero."""
    found, (expected, norm) = weights(learner), plain
    assert stats.gradient_norm == pytest.approx(norm, rel=1e-4)
    assert found.keys() == expected.keys()
    difference = torch.cat([(found[name] - expected[name]).abs().flatten() for name in expected])
    assert difference.mean() < 0.01 * rate
    assert (difference > 0.1 * rate).float().mean() < 0.01
