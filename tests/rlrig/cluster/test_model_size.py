import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from rlrig.cluster.model_size import ModelSize, UnknownSize, adapter_parameters, local_folder, model_size
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
    size = model_size(tmp_path)
    assert (size.parameters, size.stored_bytes) == (15, 30)
    assert size.shapes == {"a.weight": (3, 4), "a.bias": (3,)}
    assert size.settings == {"hidden_size": 4}
    assert [size.bytes_as(dtype) for dtype in ("float32", "bfloat16", "auto")] == [60, 30, 30]


def test_the_shipped_transformer_has_as_many_bytes_as_its_file_less_the_header():
    size = model_size(FLUX / "transformer")
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
    assert model_size(tmp_path).parameters == 9


def test_an_index_without_its_files_says_how_large_they_are(tmp_path):
    (tmp_path / "config.json").write_text('{"dtype": "bfloat16"}')
    write_index(tmp_path, {"a": "model-1.safetensors"}, total_size=200)
    size = model_size(tmp_path)
    assert (size.parameters, size.stored_bytes, size.shapes) == (100, 200, {})
    write_index(tmp_path, {"a": "model-1.safetensors"}, total_size=200, total_parameters=90)
    assert model_size(tmp_path).parameters == 90
    write_index(tmp_path, {"a": "model-1.safetensors"})
    with pytest.raises(UnknownSize, match="not all there"):
        model_size(tmp_path)


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UnknownSize, match=r"holds no \.safetensors file"):
        model_size(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x08\x00")
    with pytest.raises(UnknownSize, match=r"model\.safetensors cannot be read"):
        model_size(tmp_path)


def test_a_model_of_the_hub_is_looked_for_in_the_cache_only(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UnknownSize, match=r"hf://owner/name is not on this machine; `rlrig fetch`"):
        local_folder("hf://owner/name")
    assert local_folder(str(tmp_path)) == tmp_path


def test_an_adapter_has_rank_times_both_sides_of_each_matrix():
    shapes = {"x.0.q.weight": (8, 6), "x.1.q.weight": (8, 6), "x.0.k.weight": (4, 6), "x.0.q.bias": (8,)}
    size = ModelSize(0, 0, shapes, {})
    assert adapter_parameters(size, LoraConfig(rank=2, target_modules=("q",))) == 2 * 2 * (8 + 6)
    assert adapter_parameters(size, LoraConfig(rank=2, target_modules=("q", "k"))) == 2 * (2 * 14 + 10)
    assert adapter_parameters(size, LoraConfig(rank=3, target_modules=r"x\.0\.\w")) == 3 * (14 + 10)
    with pytest.raises(UnknownSize, match="'v' stands for no matrix"):
        adapter_parameters(size, LoraConfig(rank=2, target_modules=("q", "v")))


def test_an_adapter_is_as_large_as_the_layers_of_the_learner_say():
    from learner.skeleton import skeleton
    from weights.lora import bindings

    lora = LoraConfig(rank=4, target_modules=("to_q", "to_k", "proj_mlp"))
    module = skeleton("editor", str(FLUX))
    layers = [module.get_submodule(name) for name in bindings(module, lora)]
    expected = sum(4 * (layer.in_features + layer.out_features) for layer in layers)
    assert adapter_parameters(model_size(FLUX / "transformer"), lora) == expected
