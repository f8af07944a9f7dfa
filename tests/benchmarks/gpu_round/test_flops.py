"""Operations by the formulas, beside what torch counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from benchmarks.gpu_round.flops import Flops, flow_pass, peak_tflops, vlm_pass
from benchmarks.tiny_families.player import player
from presets.memory.image_models import Geometry
from presets.memory.model_size import UnknownSize, folder_size, size_of_settings
from presets.memory.published import PIPELINES

FUSED = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # of the CPU alone: torch does not count it
MATRICES = ("mm", "addmm", "bmm", "convolution")  # attention is one operation
KLEIN, KONTEXT = "black-forest-labs/FLUX.2-klein-4B", "black-forest-labs/FLUX.1-Kontext-dev"
OWN, SOURCE, TEXT = 48, 32, 20


def counted(call: Callable[[], Any]) -> tuple[float, float]:
    """Operations of a call that torch counts: of matrices, and of everything else."""

    def fused(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> Any:
        return sdpa_flop_count(query, key, value)

    with FlopCounterMode(display=False, custom_mapping={FUSED: fused}) as counter:
        call()
    found = {str(op).removeprefix("aten."): flops for op, flops in counter.get_flop_counts()["Global"].items()}
    matrices = sum(flops for op, flops in found.items() if op in MATRICES)
    return matrices, sum(found.values()) - matrices


def asked(name: str, width: int) -> dict[str, torch.Tensor]:
    """Arguments of a FLUX transformer for one edit, through all of which gradients flow."""
    places = 4 if name == KLEIN else 3
    given = {
        "hidden_states": torch.zeros(1, OWN + SOURCE, width, requires_grad=True),
        "encoder_hidden_states": torch.zeros(1, TEXT, 7680 if name == KLEIN else 4096, requires_grad=True),
        "timestep": torch.full((1,), 0.5),
        "img_ids": torch.zeros(OWN + SOURCE, places),
        "txt_ids": torch.zeros(TEXT, places),
        "guidance": None if name == KLEIN else torch.ones(1),
    }
    return given if name == KLEIN else {**given, "pooled_projections": torch.zeros(1, 768)}


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        pytest.param(KLEIN, (5, 20), id="klein"),
        pytest.param(KONTEXT, (2, 4), id="Kontext of fewer blocks"),
        pytest.param(KONTEXT, (19, 38), id="Kontext", marks=pytest.mark.long),
    ],
)
def test_a_step_of_an_edit_costs_what_torch_counts(name: str, blocks: tuple[int, int]) -> None:
    settings = {**PIPELINES[name][1]["transformer"], "num_layers": blocks[0], "num_single_layers": blocks[1]}
    size = size_of_settings(settings)
    sample = Geometry(OWN, SOURCE, TEXT, 24 * 128, sum(blocks), gated=name == KLEIN)
    found = flow_pass(size, sample)
    with FakeTensorMode():
        from learner.skeleton import described

        module = described(settings, device="cpu").requires_grad_(False)
        forward = module(**asked(name, module.config.in_channels), return_dict=False)[0]  # what is made once is made
        matrices, attention = counted(lambda: module(**asked(name, module.config.in_channels), return_dict=False)[0])
        backward, _ = counted(lambda: forward.sum().backward())
    assert found.matrices == pytest.approx(matrices, rel=1e-6)
    assert found.attention == pytest.approx(attention, rel=1e-6)
    assert found.apart == 0
    # What is computed once an edit from the noise level has no gradient to give.
    assert found.training(whole=False) - 3 * found.attention == pytest.approx(matrices + backward, rel=0.01)


def test_an_actor_s_pass_costs_what_torch_counts(tmp_path: Path) -> None:
    from learner.config import LearnerConfig
    from learner.samples import ActorSample
    from learner.vlm_policy import VlmPolicy

    folder = player("qwen3", tmp_path / "vlm")
    policy = VlmPolicy(folder, LearnerConfig(micro_batch=8))
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    answer = list(range(20, 50))
    (batch,) = policy.batches([ActorSample(image, "what is wrong?", answer, [0.0] * len(answer), 1.0)] * 2)
    length, patches = batch.inputs["input_ids"].shape[1], int(batch.images["image_grid_thw"].prod())
    found = vlm_pass(folder_size(folder), [length] * 2, [patches])
    with torch.no_grad():
        matrices, rest = counted(lambda: policy.evaluate(policy.module, batch))
    assert found.matrices + found.attention + found.apart == pytest.approx(matrices + rest, rel=0.02)
    assert 0 < found.apart < found.matrices


def test_training_counts_gradients_and_what_is_computed_again() -> None:
    one = Flops(matrices=100.0, attention=10.0, apart=1.0)
    assert one.training(whole=True) == 3 * 100 + 3 * 10 + 1  # 6·N for 2·N
    assert one.training(whole=False) == 2 * 100 + 3 * 10 + 1  # 4·N
    assert one.training(whole=False, again=True) == 3 * 100 + 4 * 10 + 1
    assert (one + one).training(whole=True) == (one * 2).training(whole=True) == 662


def test_gpus_are_known_by_their_names() -> None:
    assert peak_tflops("NVIDIA H200") == peak_tflops("NVIDIA H100 80GB HBM3") == 989.4
    assert peak_tflops("NVIDIA H100 PCIe") == 756.0
    assert peak_tflops("Some other card") is None


def test_a_matrix_of_an_unknown_family_is_named() -> None:
    settings = PIPELINES["Qwen/Qwen-Image"][1]["transformer"]
    with pytest.raises(UnknownSize, match="how many tokens go through img_in"):
        flow_pass(size_of_settings(settings), Geometry(OWN, SOURCE, TEXT, 3072, 60, gated=False))
