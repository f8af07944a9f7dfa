from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from rollout.config_file import load_config
from rollout.errors import BadInput
from rollout.preflight import check_models


@pytest.fixture
def config(run_file: Path):
    """A run whose model folders hold small but whole weight files."""
    models = run_file.parent / "models"
    for part in ("actor", "checker", "flux/vae", "flux/transformer", "flux/text_encoder", "flux/text_encoder_2"):
        (models / part).mkdir(exist_ok=True, parents=True)
        save_file({"weight": np.zeros((4, 4), np.float32)}, models / part / "model.safetensors")
    return load_config(run_file)


def test_whole_models_pass(config):
    check_models(config)


@pytest.mark.parametrize(
    ("part", "key"),
    [("checker", "models.checker"), ("actor", "models.actor"), ("flux/transformer", "models.flux")],
)
def test_damaged_weights_are_refused_with_key_and_file(config, run_file, part, key):
    path = run_file.parent / "models" / part / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadInput, match=rf"{key}: .*{part}/model\.safetensors is damaged"):
        check_models(config)


def test_weights_that_are_missing_are_refused(config, run_file):
    (run_file.parent / "models" / "flux" / "vae" / "model.safetensors").unlink()
    with pytest.raises(BadInput, match=r"models\.flux: .*vae holds no \.safetensors file"):
        check_models(config)
