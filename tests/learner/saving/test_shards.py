import json

import pytest
import torch
from diffusers import FluxTransformer2DModel
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from learner.saving.shards import Shards


def tensors() -> dict[str, torch.Tensor]:
    return {f"t{index}": torch.full((10,), float(index)) for index in range(5)}


def test_what_fits_into_one_file_is_one_file(tmp_path):
    shards = Shards(tmp_path / "new", "model")
    for name, tensor in tensors().items():
        shards.add({name: tensor})
        tensor += 1  # a copy was taken
    shards.close()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model.safetensors"]
    found = load_file(tmp_path / "new" / "model.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors().items())


def test_more_is_several_files_with_an_index(tmp_path):
    shards = Shards(tmp_path, "model", shard_bytes=80)
    shards.add(tensors())
    shards.close()
    files = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [*files, "model.safetensors.index.json"]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 200
    assert index["weight_map"] == {name: files[number] for name, number in zip(tensors(), (0, 0, 1, 1, 2), strict=True)}
    for name, file in index["weight_map"].items():
        assert torch.equal(load_file(tmp_path / file)[name], tensors()[name])


def test_nothing_to_write_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no tensors to write"):
        Shards(tmp_path, "model").close()


@pytest.mark.parametrize("kind", ["transformers", "diffusers"])
def test_the_libraries_load_several_files(kind, vlm_folder, flux_folder, tmp_path):
    if kind == "transformers":
        model, stem, load = (
            AutoModelForImageTextToText.from_pretrained(vlm_folder),
            "model",
            AutoModelForImageTextToText,
        )
        model.config.save_pretrained(tmp_path)
    else:
        model = FluxTransformer2DModel.from_pretrained(flux_folder, subfolder="transformer")
        stem, load = "diffusion_pytorch_model", FluxTransformer2DModel
        model.save_config(tmp_path)
    state = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    shards = Shards(tmp_path, stem, shard_bytes=1 << 20)
    shards.add(state)
    shards.close()
    assert len(list(tmp_path.glob("*.safetensors"))) > 3
    found = load.from_pretrained(tmp_path).state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
