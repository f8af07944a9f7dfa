from pathlib import Path

import numpy as np
import pytest
import torch

from actors.flux_model import FluxModel
from learner.pretraining.flux_model import build

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def flux_folder(tmp_path_factory) -> Path:
    """A pipeline with random weights."""
    return build(tmp_path_factory.mktemp("models") / "flux", seed=3)


@pytest.fixture(scope="session")
def flux(flux_folder) -> FluxModel:
    return FluxModel(flux_folder)


@pytest.fixture(scope="session")
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(3)]
