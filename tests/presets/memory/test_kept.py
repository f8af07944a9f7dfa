"""What a layer keeps for the backward pass, beside what autograd saves of layers of the real sizes, without memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from diffusers import Flux2Transformer2DModel, FluxTransformer2DModel, QwenImageTransformer2DModel
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from transformers import AutoConfig, AutoModelForImageTextToText

from presets.memory.published import VLMS
from presets.memory.vlms import layer_bytes

TOKENS, TEXT = 512, 128


@pytest.fixture(autouse=True)
def fake() -> Iterator[None]:
    """Tensors without memory, in bfloat16; attention is fused, as on a GPU."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with FakeTensorMode():
            yield
    finally:
        torch.set_default_dtype(before)


def saved(module: torch.nn.Module, call: Callable[[], Any]) -> int:
    """Bytes that a call keeps, without the module's own tensors."""
    own = {t.untyped_storage()._cdata for t in (*module.parameters(), *module.buffers())}
    found: dict[int, tuple[int, torch.Tensor]] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            found[storage._cdata] = (storage.nbytes(), tensor)  # held, so that no address is used twice
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        call()
    return sum(nbytes for nbytes, _ in found.values())


def adapted(module: torch.nn.Module, only: str = "") -> torch.nn.Module:
    """Freeze everything, and add a small adapter's work to each linear layer whose name has `only` in it: its input is
    kept for A, its output's way back is through frozen weights."""
    module.requires_grad_(False)
    for name, layer in list(module.named_modules()):
        if isinstance(layer, torch.nn.Linear) and only in name:
            down = torch.nn.Linear(layer.in_features, 4, bias=False)
            up = torch.nn.Linear(4, layer.out_features, bias=False)
            layer.register_forward_hook(lambda _, given, out, down=down, up=up: out + up(down(given[0])))
    return module


def of_flux(double: int, single: int, adapt: bool) -> int:
    module = FluxTransformer2DModel(guidance_embeds=True, num_layers=double, num_single_layers=single)
    given = {
        "hidden_states": torch.randn(1, TOKENS, 64), "encoder_hidden_states": torch.randn(1, TEXT, 4096),
        "pooled_projections": torch.randn(1, 768), "timestep": torch.ones(1), "guidance": torch.ones(1),
        "txt_ids": torch.zeros(TEXT, 3), "img_ids": torch.zeros(TOKENS, 3),
    }  # fmt: skip
    return saved(adapted(module, "attn") if adapt else module, lambda: module(**given))


def of_flux2(double: int, single: int, adapt: bool) -> int:
    module = Flux2Transformer2DModel(
        num_layers=double, num_single_layers=single, num_attention_heads=24, joint_attention_dim=7680,
        guidance_embeds=False,
    )  # fmt: skip
    given = {
        "hidden_states": torch.randn(1, TOKENS, 128), "encoder_hidden_states": torch.randn(1, TEXT, 7680),
        "timestep": torch.ones(1), "guidance": None, "txt_ids": torch.zeros(TEXT, 4), "img_ids": torch.zeros(TOKENS, 4),
    }  # fmt: skip
    return saved(adapted(module, "attn") if adapt else module, lambda: module(**given))


def of_qwen_image(blocks: int, _: int, adapt: bool) -> int:
    module = QwenImageTransformer2DModel(num_layers=blocks)
    given = {
        "hidden_states": torch.randn(1, TOKENS, 64), "encoder_hidden_states": torch.randn(1, TEXT, 3584),
        "timestep": torch.ones(1), "img_shapes": [[(1, 16, 16), (1, 16, 16)]],
    }  # fmt: skip
    return saved(adapted(module, "attn") if adapt else module, lambda: module(**given))


@pytest.mark.parametrize(
    ("of", "adapt", "expected"),
    [
        (of_flux, True, 34), (of_flux, False, 56), (of_qwen_image, True, 34), (of_qwen_image, False, 56),
        (of_flux2, True, 46), (of_flux2, False, 64),
    ],
)  # fmt: skip
def test_a_block_of_an_image_transformer_keeps_so_many_bytes_of_a_token_and_channel(of, adapt, expected):
    """A double block is the difference of two and one, a single block that of one and none beside a double block."""
    elements = (TOKENS + TEXT) * 3072
    one = of(1, 0, adapt)
    blocks = [(of(2, 0, adapt) - one) / elements]
    if of is not of_qwen_image:
        blocks.append((of(1, 1, adapt) - one) / elements)
    assert all(0.8 * expected < found < 1.1 * expected for found in blocks), blocks


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen3-VL-4B-Instruct"])
@pytest.mark.parametrize("whole", [True, False])
def test_a_layer_of_a_vlm_keeps_as_much_as_the_formula_says(name, whole):
    text = VLMS[name]["text_config"]

    def kept(layers: int) -> int:
        settings = {**VLMS[name], "text_config": {**text, "num_hidden_layers": layers}}
        config = AutoConfig.for_model(
            settings["model_type"], **{k: v for k, v in settings.items() if k != "model_type"}
        )
        vlm = AutoModelForImageTextToText.from_config(config).model.language_model.eval()
        module = vlm if whole else adapted(vlm, "proj")
        given = {"inputs_embeds": torch.randn(1, TOKENS, text["hidden_size"]), "use_cache": False}
        return saved(module, lambda: vlm(**given, position_ids=torch.zeros(3, 1, TOKENS, dtype=torch.long)))

    found = (kept(2) - kept(1)) / TOKENS
    assert layer_bytes(text, whole=whole) == pytest.approx(found, rel=0.05)
