"""Text encoders that come and go: where they are, how often they come, and that images do not change by it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from actors.conditioning import velocity
from actors.diffuser import Diffuser
from actors.flow_path import FlowSde
from actors.image_model import ImageModel
from actors.inverse_diffuser import InverseDiffuser
from actors.model_families import load_editor
from actors.pipelines.text_encoders import move, place
from benchmarks.tiny_families.z_image import build_z_image
from tests.tiny_families import EDITORS, images

PROMPTS = ["move the red circle left of the blue square", "make it green"]
SDE = FlowSde(eta=0.9, steps=3)


@pytest.fixture(scope="module", params=list(EDITORS))
def pair(request, tmp_path_factory) -> tuple[ImageModel, ImageModel]:
    """An editor whose text encoders stay, and one whose text encoders leave."""
    family = EDITORS[request.param]
    folder = family.build(tmp_path_factory.mktemp(request.param) / "model")
    return load_editor(folder, **family.settings), load_editor(folder, **family.settings, text_offload="cpu")


def apart(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def test_edits_are_the_same_and_a_prompt_brings_the_text_encoders_once(pair):
    stays, leaves = pair
    encoders = len(leaves.texts.names)
    assert encoders == sum(name.startswith("text_encoder") for name in leaves.pipe.components)
    expected = stays.edit(images(2), PROMPTS, [5, 6], SDE)
    for visits in (1, 1):  # the second time all is known
        found = leaves.edit(images(2), PROMPTS, [5, 6], SDE)
        assert leaves.texts.visits == visits * encoders
        assert not leaves.texts.here
        for one, other in zip(found, expected, strict=True):
            assert apart(one.image, other.image) <= 1
            np.testing.assert_allclose(one.path.log_probs, other.path.log_probs, atol=1e-4)
    before = leaves.texts.visits
    leaves.edit(images(1), ["a prompt that is new"], [5], steps=2)
    assert leaves.texts.visits == before + encoders
    assert stays.texts is None
    assert stays.encodings.encoded == 0


def test_what_a_prompt_becomes_does_not_depend_on_who_was_asked_with_it(pair):
    _, leaves = pair
    together = leaves.conditioning(images(2), [PROMPTS[0], "short"]).take([1])
    leaves.encodings = type(leaves.encodings)()
    alone = leaves.conditioning(images(2)[1:], ["short"])
    with torch.no_grad():
        one, other = (velocity(leaves.transformer, it.zeros(), it, 0.5) for it in (together, alone))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_batches_that_are_prepared_in_a_row_share_a_visit_which_the_first_step_ends(pair):
    _, leaves = pair
    before = leaves.texts.visits
    prepared = [leaves.conditioning(images(1), [f"batch {number}"]) for number in range(3)]
    assert leaves.texts.visits == before + len(leaves.texts.names)
    assert leaves.texts.here == leaves.texts.names
    with torch.no_grad():
        velocity(leaves.transformer, prepared[0].zeros(), prepared[0], 0.5)
    assert not leaves.texts.here


class Pipe:
    """A pipeline's parts, each a matrix of one number."""

    def __init__(self) -> None:
        names = ("vae", "text_encoder", "text_encoder_2", "transformer")
        self.components = {name: torch.nn.Linear(2, 2) for name in names} | {"tokenizer": SimpleNamespace()}

    def places(self) -> dict[str, str]:
        parts = {name: it for name, it in self.components.items() if isinstance(it, torch.nn.Module)}
        return {name: part.weight.device.type for name, part in parts.items()}


def test_each_is_on_the_device_only_between_its_call_and_the_next_denoising_step():
    """torch's device without memory stands for a GPU."""
    pipe = Pipe()
    weights = {name: pipe.components[name].weight.detach().clone() for name in ("text_encoder", "text_encoder_2")}
    texts = place(pipe, "meta", "cpu")
    at_rest = {"vae": "meta", "text_encoder": "cpu", "text_encoder_2": "cpu", "transformer": "meta"}
    assert pipe.places() == at_rest
    prompt = torch.ones(1, 2)
    for visits in (1, 2):
        assert pipe.components["text_encoder"](prompt).device.type == "meta"
        assert pipe.components["text_encoder"](input=prompt).device.type == "meta"
        assert pipe.places() == {**at_rest, "text_encoder": "meta"}
        assert (texts.visits, texts.here) == (visits, {"text_encoder"})
        pipe.components["transformer"](prompt.to("meta"))
        assert pipe.places() == at_rest
    for name, expected in weights.items():
        assert torch.equal(pipe.components[name].weight, expected)


def test_a_pipeline_that_moves_leaves_its_text_encoders_in_cpu_memory():
    pipe = Pipe()
    texts = place(pipe, "meta", "cpu")
    pipe.components["text_encoder_2"](torch.ones(1, 2))
    for part in (pipe.components["vae"], pipe.components["transformer"]):
        part.to_empty(device="cpu")
    move(pipe, "meta")
    assert pipe.places() == {"vae": "meta", "text_encoder": "cpu", "text_encoder_2": "cpu", "transformer": "meta"}
    assert texts.here == frozenset()


def test_a_place_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="text_offload is 'disk'; it must be 'none' or 'cpu'"):
        place(Pipe(), "cpu", "disk")


def test_a_pipeline_without_a_family_draws_the_same(tmp_path: Path):
    folder = build_z_image(tmp_path / "model")
    settings = {"image_size": 64, "max_sequence_length": 48}
    stays, leaves = Diffuser(folder, **settings), Diffuser(folder, text_offload="cpu", **settings)
    for visits in (1, 2):
        one, other = (it.draw(PROMPTS, [3, 4], steps=2) for it in (stays, leaves))
        np.testing.assert_array_equal(one, other)
        assert (leaves.model.texts.visits, leaves.model.texts.here) == (visits, frozenset())


def test_a_worker_sleeps_and_wakes_with_its_text_encoders_away(tmp_path: Path):
    family = EDITORS["flux2-klein"]
    worker = InverseDiffuser(family.build(tmp_path / "model"), text_offload="cpu", **family.settings)
    assert (worker.model.texts.visits, worker.model.texts.here) == (1, frozenset())  # its probe was encoded
    before = worker.edit(images(1), PROMPTS[:1], [1], SDE)
    worker.sleep()
    worker.wake()
    (after,) = worker.edit(images(1), PROMPTS[:1], [1], SDE)
    np.testing.assert_array_equal(before[0].image, after.image)
    assert not worker.model.texts.here


@pytest.mark.engines
@pytest.mark.gpu
@pytest.mark.parametrize("name", list(EDITORS))
def test_on_a_gpu_they_take_no_memory_but_while_they_encode(name: str, tmp_path: Path):
    family = EDITORS[name]
    folder = family.build(tmp_path / "model")
    settings = {"device": "cuda", "dtype": "bfloat16", **family.settings}
    model = load_editor(folder, text_offload="cpu", **settings)
    parts = [model.pipe.components[name] for name in model.texts.names]
    nbytes = sum(tensor.nbytes for part in parts for tensor in part.parameters())
    assert {tensor.device.type for part in parts for tensor in part.parameters()} == {"cpu"}
    at_rest = torch.cuda.memory_allocated()
    model.conditioning(images(1), PROMPTS[:1])
    assert torch.cuda.memory_allocated() - at_rest >= 0.9 * nbytes
    (found,) = model.edit(images(1), PROMPTS[:1], [5], SDE)
    assert torch.cuda.memory_allocated() - at_rest < 0.5 * nbytes
    (expected,) = load_editor(folder, **settings).edit(images(1), PROMPTS[:1], [5], SDE)
    assert apart(found.image, expected.image) <= 1
