"""An image worker that takes turns with others on its GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from actors.flow_path import FlowSde
from tests.tiny_families import EDITORS, images

pytestmark = [pytest.mark.engines, pytest.mark.gpu]


def test_a_worker_that_sleeps_gives_its_gpu_back_and_edits_to_the_bit_as_before(tmp_path: Path) -> None:
    from actors.inverse_diffuser import InverseDiffuser

    family = EDITORS["flux2-klein"]
    worker = InverseDiffuser(family.build(tmp_path / "model"), device="cuda", dtype="bfloat16", **family.settings)
    parts = [part for part in worker.model.pipe.components.values() if isinstance(part, torch.nn.Module)]
    nbytes = sum(tensor.nbytes for part in parts for tensor in part.state_dict().values())
    asked = (images(2), ["move the cat left", "make it green"], [1, 2], FlowSde(eta=0.7, steps=4))

    before, awake = worker.edit(*asked), torch.cuda.memory_allocated()
    worker.sleep()
    assert awake - torch.cuda.memory_allocated() >= 0.9 * nbytes
    assert {tensor.device.type for part in parts for tensor in part.parameters()} == {"cpu"}
    worker.wake()
    assert {tensor.device.type for part in parts for tensor in part.parameters()} == {"cuda"}
    for one, other in zip(before, worker.edit(*asked), strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.path.latents, other.path.latents)
