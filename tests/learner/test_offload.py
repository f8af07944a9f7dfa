"""A learner that leaves its GPU between updates learns what one learns that stays."""

from __future__ import annotations

import pytest
import ray

from tests.local_cluster import shared_ray

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with shared_ray():
        yield


@ray.remote(num_cpus=0.5, max_calls=1)
def after_three_steps(settings: dict, sleeps: bool) -> tuple[list[float], list[str]]:
    """The weights after three steps of AdamW, and where a policy was told to be."""
    import torch

    from learner.config import LearnerConfig
    from learner.engine import join, listen, new_engine, step
    from learner.offload import come_back, leave

    class Policy:
        def __init__(self) -> None:
            torch.manual_seed(0)
            dtype = getattr(torch, config.dtype)
            self.module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1)).to(dtype)
            self.module[0].requires_grad_(False)
            self.places: list[str] = []

        def to(self, device: str) -> None:
            self.places.append(device)
            self.module.to(device)

    config = LearnerConfig(**settings)
    store = listen("127.0.0.1", 1, 60)
    join(store, "127.0.0.1", store.port, 0, 1, 60)
    policy = Policy()
    engine = new_engine(policy.module, config)
    for number in range(3):
        if sleeps:
            leave(engine, policy)
            come_back(engine, policy, config.device)
        engine.set_gradient_accumulation_boundary(True)
        inputs = torch.full((1, 3), number + 1.0, dtype=next(policy.module.parameters()).dtype)
        engine.backward(engine(inputs).sum())
        step(engine, 1, config.learning_rate)
    weights = [float(value) for parameter in policy.module.parameters() for value in parameter.detach().flatten()]
    return weights, policy.places


@pytest.mark.parametrize(
    "settings",
    [{"learning_rate": 0.1}, {"learning_rate": 0.1, "dtype": "bfloat16", "zero_stage": 2}],
    ids=["float32", "ZeRO-2"],
)
def test_sleep_between_updates_changes_nothing(settings):
    asked = [after_three_steps.remote(settings, sleeps) for sleeps in (False, True)]
    (stays, _), (sleeps, places) = ray.get(asked, timeout=180)
    assert sleeps == stays
    assert len({round(value, 3) for value in stays}) > 3
    assert places == ["cpu", "cpu"] * 3
