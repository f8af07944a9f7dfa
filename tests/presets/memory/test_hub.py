"""Sizes from a hub on this machine, over HTTP: headers and configurations alone, and what it says where it cannot."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub.utils import close_session
from safetensors.numpy import save_file

from presets.memory.hub import Unreachable, files_read, hub_parts
from presets.memory.model_size import UnknownSize, folder_size
from presets.memory.sizes import Sizes
from tests.places import TINY
from tests.rlrig.local_hub import LocalHub, local_hub

MODELS = TINY / "models"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The small pipeline, and a VLM of 40 MB in two files beside another layout of the same weights."""
    actor = shutil.copytree(MODELS / "actor", tmp_path / "actor")
    (actor / "model.safetensors").unlink()
    for n in (1, 2):
        save_file({f"part.{n}": np.zeros((1000, 5000), np.float32)}, actor / f"model-{n}.safetensors")
    index = {"weight_map": {f"part.{n}": f"model-{n}.safetensors" for n in (1, 2)}}
    (actor / "model.safetensors.index.json").write_text(json.dumps(index))
    save_file({"again": np.zeros(10_000_000, np.float32)}, actor / "consolidated.safetensors")
    flux = shutil.copytree(MODELS / "flux", tmp_path / "flux")
    with local_hub({"own/flux": flux, "own/actor": actor}) as hub:
        at(hub.url, monkeypatch)
        yield hub
    close_session()


def at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    close_session()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)


def test_headers_alone_are_read(hub: LocalHub):
    pipeline, parts = hub_parts("own/actor")
    assert (pipeline, parts[""].parameters, parts[""].stored_bytes) == ("", 10_000_000, 40_000_000)
    assert parts[""].shapes == {"part.1": (1000, 5000), "part.2": (1000, 5000)}
    assert parts[""].settings == folder_size(hub.folders["own/actor"]).settings
    assert 0 < hub.sent < 300_000  # of 80 MB


def test_a_pipeline_on_the_hub_has_the_sizes_of_its_folder(hub: LocalHub, tmp_path: Path):
    sizes = Sizes()
    there, here = sizes.model("hf://own/flux"), Sizes().model(str(MODELS / "flux"))
    assert there.pipeline == here.pipeline == "FluxKontextPipeline"
    assert {part: size.parameters for part, size in there.parts.items()} == {
        part: size.parameters for part, size in here.parts.items()
    }
    assert there.parts["transformer"].settings == here.parts["transformer"].settings
    asked = len(hub.asked)
    assert sizes.model("hf://own/flux") is there
    assert len(hub.asked) == asked
    assert sizes.sources == {"own/flux": "the headers of their files on the hub"}
    assert not list((tmp_path / "hub-cache").glob("**/*.json"))  # half a model would look like one


def test_a_gated_model_says_how_to_get_in_and_a_known_one_has_its_published_size(hub: LocalHub):
    hub.gated |= {"own/flux"}
    with pytest.raises(UnknownSize, match=r"hf://own/flux: it is gated: accept its terms at the hub, and set HF_TOKEN"):
        hub_parts("own/flux")
    name = "black-forest-labs/FLUX.1-dev"
    hub.folders[name] = hub.folders["own/flux"]
    hub.gated.add(name)
    sizes = Sizes()
    assert sizes.model(f"hf://{name}").part("transformer").parameters == pytest.approx(11.9e9, rel=0.01)
    assert sizes.sources == {name: "published configurations, as it is gated: accept its terms at the hub, and set "
                                   "HF_TOKEN to your token"}  # fmt: skip


def test_what_is_not_there_or_has_no_weights_is_named(hub: LocalHub, tmp_path: Path):
    with pytest.raises(UnknownSize, match="hf://own/nothing is not on the hub; check its name"):
        hub_parts("own/nothing")
    (empty := tmp_path / "empty").mkdir()
    (empty / "pytorch_model.bin").write_bytes(b"0")
    hub.folders["own/empty"] = empty
    with pytest.raises(UnknownSize, match=r"hf://own/empty has no \.safetensors weights"):
        hub_parts("own/empty")
    (empty / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(UnknownSize, match="hf://own/empty: its files cannot be read"):
        hub_parts("own/empty")


def test_a_silent_hub_has_a_deadline(hub: LocalHub):
    hub.silent_s = 3.0
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"the hub did not say its size within 0\.5 s; `rlrig fetch` brings it here"):
        hub_parts("own/actor", deadline_s=0.5)
    assert time.monotonic() - began < 2.0


def test_a_hub_that_is_not_there_is_asked_once(monkeypatch: pytest.MonkeyPatch):
    at("http://127.0.0.1:9", monkeypatch)
    asked = []
    monkeypatch.setattr("presets.memory.sizes.hub_parts", lambda name: asked.append(name) or hub_parts(name))
    sizes = Sizes()
    for name in ("hf://own/one", "hf://own/two"):
        with pytest.raises(UnknownSize, match=f"{name} is not on this machine, and the hub cannot be reached: .*fetch"):
            sizes.model(name)
    assert asked == ["own/one"]


def test_offline_known_models_have_sizes_and_others_a_remedy():
    sizes = Sizes()
    assert sizes.model("hf://Qwen/Qwen3-VL-4B-Instruct").part("").parameters == pytest.approx(4.4378e9, rel=1e-3)
    assert "published configurations, as the hub cannot be reached" in sizes.sources["Qwen/Qwen3-VL-4B-Instruct"]
    with pytest.raises(UnknownSize, match=r"hf://own/one is not on this machine, .*`rlrig fetch` brings it here"):
        sizes.model("hf://own/one")


def test_a_fetch_that_was_cut_off_is_no_pipeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Without its larger text encoder it would look as if it fitted."""
    cut = shutil.copytree(MODELS / "flux", tmp_path / "cut")
    (cut / "text_encoder_2" / "model.safetensors").unlink()
    with pytest.raises(UnknownSize, match="holds no weights of text_encoder_2"):
        Sizes().model(str(cut))
    monkeypatch.setattr("presets.memory.sizes._cached", lambda name: cut)
    found = Sizes().model("hf://black-forest-labs/FLUX.1-dev")
    assert found.part("text_encoder_2").parameters == pytest.approx(4.76e9, rel=0.01)


def test_files_that_are_read() -> None:
    names = [
        "README.md", "config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
        "model.safetensors.index.json", "consolidated.safetensors", "original/model.safetensors", "tokenizer.json",
        "merges.txt", "chat_template.jinja", "pytorch_model.bin", "model.fp16.safetensors",
    ]  # fmt: skip
    assert files_read(names, None) == [
        "config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
        "model.safetensors.index.json", "tokenizer.json", "merges.txt", "chat_template.jinja",
    ]  # fmt: skip
    names = ["model_index.json", "vae/config.json", "vae/x.safetensors", "other/x.safetensors", "whole.safetensors"]
    assert files_read(names, ["vae"]) == ["model_index.json", "vae/config.json", "vae/x.safetensors"]
