"""Roles that share a GPU, by the name that its maker gave it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from presets.placement import apart, parts_of_gpus
from tests.local_cluster import local_ray
from tests.tiny_families import EDITORS

pytestmark = [pytest.mark.engines, pytest.mark.gpu]
SHARE = [["editor", "learner.editor"]]


def test_roles_that_share_are_on_one_gpu(tmp_path: Path) -> None:
    from actors.fleet import Fleet
    from actors.inverse_diffuser import InverseDiffuser
    from learner.config import LearnerConfig
    from learner.ranks import Learner
    from weights.lora_config import LoraConfig

    family, parts = EDITORS["flux2-klein"], parts_of_gpus(SHARE)
    folder = family.build(tmp_path / "model")
    config = LearnerConfig(
        lora=LoraConfig(rank=2, alpha=4.0, target_modules=family.target_modules),
        dtype="bfloat16",
        zero_stage=2,
        gpus_per_rank=parts["learner.editor.gpus_per_rank"],
    )
    with local_ray(4, num_gpus=torch.cuda.device_count()):
        options = {"num_cpus": 1, "num_gpus": parts["editor.gpus"]}
        fleet = Fleet.start(
            InverseDiffuser, 1, options, path=folder, device="cuda", dtype="bfloat16", **family.settings
        )
        with Learner("editor", folder, config, family.settings) as learner:
            gpus = {"editor": list(fleet.broadcast("gpu_uuid").values()), "learner.editor": learner.gpus()}
        fleet.close()
    assert len(gpus["editor"]) == 1
    assert gpus["editor"][0]
    assert gpus["learner.editor"] == gpus["editor"]
    assert apart(gpus, SHARE) == []
    assert apart({**gpus, "learner.editor": ["GPU of another"]}, SHARE) != []
