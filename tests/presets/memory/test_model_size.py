import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from presets.disk import USUAL_LATENTS
from presets.memory.model_size import UnknownSize, folder_size, size_of_settings
from presets.memory.sizes import Sizes, latent_shape
from tests.places import TINY
from weights.lora_config import LoraConfig

FLUX = TINY / "models" / "flux"


def write(path: Path, **shapes: tuple[int, ...]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name.replace("__", "."): np.zeros(shape, np.float16) for name, shape in shapes.items()}, path)
    return path


def test_parameters_and_bytes_come_from_the_headers(tmp_path):
    write(tmp_path / "model.safetensors", a__weight=(3, 4), a__bias=(3,))
    (tmp_path / "config.json").write_text('{"hidden_size": 4}')
    size = folder_size(tmp_path)
    assert (size.parameters, size.stored_bytes) == (15, 30)
    assert size.shapes == {"a.weight": (3, 4), "a.bias": (3,)}
    assert size.settings == {"hidden_size": 4}
    assert [size.bytes_as(dtype) for dtype in ("float32", "bfloat16", "auto")] == [60, 30, 30]


def test_the_shipped_transformer_has_as_many_bytes_as_its_file_less_the_header():
    size = folder_size(FLUX / "transformer")
    file = (FLUX / "transformer" / "diffusion_pytorch_model.safetensors").stat().st_size
    assert size.stored_bytes == 4 * size.parameters
    assert 0 < file - size.stored_bytes < 50_000


def write_index(folder: Path, files: dict[str, str], **metadata: int) -> None:
    index = {"metadata": metadata, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_only_the_files_of_the_index_count(tmp_path):
    write(tmp_path / "model-1.safetensors", a=(2, 2))
    write(tmp_path / "model-2.safetensors", b=(5,))
    write(tmp_path / "consolidated.safetensors", other=(100,))
    write_index(tmp_path, {"a": "model-1.safetensors", "b": "model-2.safetensors"})
    assert folder_size(tmp_path).parameters == 9


def test_an_index_without_its_files_says_how_large_they_are(tmp_path):
    (tmp_path / "config.json").write_text('{"dtype": "bfloat16"}')
    write_index(tmp_path, {"a": "model-1.safetensors"}, total_size=200)
    size = folder_size(tmp_path)
    assert (size.parameters, size.stored_bytes, size.shapes) == (100, 200, {})
    write_index(tmp_path, {"a": "model-1.safetensors"}, total_size=200, total_parameters=90)
    assert folder_size(tmp_path).parameters == 90
    write_index(tmp_path, {"a": "model-1.safetensors"})
    with pytest.raises(UnknownSize, match="not all there"):
        folder_size(tmp_path)


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UnknownSize, match=r"holds no \.safetensors file"):
        folder_size(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x08\x00")
    with pytest.raises(UnknownSize, match=r"model\.safetensors cannot be read"):
        folder_size(tmp_path)


def test_an_adapter_is_as_large_as_the_layers_of_the_learner_say():
    """By hand: six blocks; queries and keys are square, and the output of the single blocks' MLP is four times as
    wide."""
    sizes, rank, width = Sizes(), 4, 128
    square = sizes.adapter(str(FLUX), "transformer", LoraConfig(rank=rank, target_modules=("to_q",)))
    assert (square.parameters, square.sees) == (6 * rank * 2 * width, False)
    wider = sizes.adapter(str(FLUX), "transformer", LoraConfig(rank=rank, target_modules=("to_q", "proj_mlp")))
    single = folder_size(FLUX / "transformer").settings["num_single_layers"]
    assert wider.parameters == square.parameters + single * rank * 5 * width
    with pytest.raises(UnknownSize, match="'nowhere' binds to zero modules"):
        sizes.adapter(str(FLUX), "transformer", LoraConfig(rank=rank, target_modules=("to_q", "nowhere")))


def test_an_adapter_in_the_vision_encoder_is_known_as_one():
    every = LoraConfig(rank=2, target_modules=r".*\.q_proj")
    text = LoraConfig(rank=2, target_modules=r".*text_model.*\.q_proj")
    actor = str(TINY / "models" / "actor")
    assert Sizes().adapter(actor, "", every).sees
    assert not Sizes().adapter(actor, "", text).sees


def test_an_adapter_binds_by_the_configuration_whatever_the_files_call_their_tensors(tmp_path):
    """Qwen2.5-VL's files say `model.layers`, its configuration has the text part's settings at the top."""
    write(tmp_path / "model.safetensors", model__layers__0__self_attn__q_proj__weight=(64, 64))
    text = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
            "num_key_value_heads": 2, "vocab_size": 100}  # fmt: skip
    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 64}
    kind = {"architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl"}
    (tmp_path / "config.json").write_text(json.dumps({**kind, **text, "vision_config": vision}))
    lora = LoraConfig(rank=2, target_modules=r".*language_model\.layers\.\d+\.self_attn\.[qk]_proj")
    found = Sizes().adapter(str(tmp_path), "", lora)
    assert (found.parameters, found.sees) == (3 * 2 * ((64 + 64) + (64 + 32)), False)


@pytest.mark.parametrize(
    "settings",
    [{}, {"_class_name": "Nothing"}, {"_class_name": "FluxPipeline"}, {"architectures": [], "model_type": "qwen3"},
     {"architectures": ["Nothing"], "model_type": "qwen3"}, {"architectures": ["Trainer"], "model_type": "qwen3"},
     {"architectures": ["Qwen3ForCausalLM"], "model_type": "nothing"},
     {"_class_name": "FluxTransformer2DModel", "num_layers": "many"}],
)  # fmt: skip
def test_a_configuration_that_makes_no_model_is_refused(settings):
    with pytest.raises(UnknownSize, match="its configuration makes no model here"):
        size_of_settings(settings)


def test_the_form_of_latents_is_what_the_vae_says(tmp_path):
    sizes = Sizes(ask_hub=False)
    channels, side = latent_shape(str(FLUX), sizes)
    packed = json.loads((FLUX / "transformer" / "config.json").read_text())["in_channels"]
    assert (packed, side) == (4 * channels, 4)  # a token stands for 2×2 latents
    assert latent_shape("hf://Qwen/Qwen-Image-Edit-2511", sizes) == (16, 8)
    assert latent_shape(str(tmp_path / "missing"), sizes) == USUAL_LATENTS
