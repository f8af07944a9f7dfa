"""DeepSpeed's engine as a rank sets it up."""

from __future__ import annotations

import pytest
import ray

from learner.config import LearnerConfig
from tests.local_cluster import shared_ray

pytestmark = pytest.mark.engines
SMALL, TIMES = 2.0**-10, 512  # 1 + SMALL is 1 in bfloat16


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with shared_ray():
        yield


@ray.remote(num_cpus=0.5, max_calls=1)
def norm_of_a_sum(settings: dict) -> tuple[float, str]:
    """The norm of one large and many small gradients, added up in forward passes of their own."""
    import torch

    from learner.engine import join, listen, new_engine, step

    config = LearnerConfig(**settings)
    store = listen("127.0.0.1", 1, 60)
    join(store, "127.0.0.1", store.port, 0, 1, 60)
    module = torch.nn.Linear(1, 1, bias=False, dtype=torch.bfloat16)
    engine = new_engine(module, config)
    for number, size in enumerate([1.0, *[SMALL] * TIMES]):
        engine.set_gradient_accumulation_boundary(number == TIMES)
        engine.backward(engine(torch.full((1, 1), size, dtype=torch.bfloat16)).sum())
    norm = step(engine, 1, config.learning_rate)
    return norm, str(engine.optimizer.param_groups[0]["eps"])


@pytest.mark.parametrize("stage", [2, 3])
def test_gradients_of_bfloat16_add_up_in_float32_and_adamws_epsilon_is_the_settings(stage):
    settings = {"dtype": "bfloat16", "zero_stage": stage, "epsilon": 1e-4, "max_grad_norm": 100.0}
    norm, epsilon = ray.get(norm_of_a_sum.remote(settings), timeout=120)
    assert norm == pytest.approx(1.0 + SMALL * TIMES, rel=1e-3)
    assert epsilon == "0.0001"
