import pytest
import torch
from safetensors.torch import save_file

from serving.model_folder import BrokenModelFolder, check_model_folder, check_names, folder_checksums
from weights.checksums import tensors_digest
from weights.manifest import WeightMismatch, pack


@pytest.fixture
def tensors():
    return {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4)}


@pytest.fixture
def folder(tmp_path, tensors):
    save_file({"a": tensors["a"]}, tmp_path / "model-1.safetensors")
    save_file({"b": tensors["b"]}, tmp_path / "model-2.safetensors")
    return tmp_path


def test_a_whole_folder_and_a_hub_id_pass(folder):
    check_model_folder(str(folder))
    check_model_folder("owner/name")


def test_a_file_cut_short_is_refused_with_its_path(folder):
    path = folder / "model-2.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(BrokenModelFolder, match=r"model-2.safetensors is damaged"):
        check_model_folder(str(folder))


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(BrokenModelFolder, match=r"holds no .safetensors file"):
        check_model_folder(str(tmp_path))


def test_the_folder_has_the_manifest_s_checksums(folder, tensors):
    manifest = pack("actor", 0, tensors).manifest
    assert folder_checksums(str(folder), manifest) == manifest.checksums
    assert manifest.digest == tensors_digest(tensors)
    changed = pack("actor", 1, {**tensors, "a": tensors["a"] + 1}).manifest
    assert folder_checksums(str(folder), changed) == manifest.checksums


def test_an_update_must_have_exactly_the_folder_s_tensors(folder, tensors):
    check_names(str(folder), pack("actor", 1, tensors).manifest)
    check_names("owner/name", pack("actor", 1, tensors).manifest)
    with pytest.raises(WeightMismatch, match="no tensor 'c'"):
        check_names(str(folder), pack("actor", 1, {**tensors, "c": torch.ones(1)}).manifest)
    with pytest.raises(WeightMismatch, match=r"'b' has shape \(5,\), not \(4,\)"):
        check_names(str(folder), pack("actor", 1, {**tensors, "b": torch.ones(5)}).manifest)
    with pytest.raises(WeightMismatch, match="lacks 1 tensors of the model: b"):
        check_names(str(folder), pack("actor", 1, {"a": tensors["a"]}).manifest)
