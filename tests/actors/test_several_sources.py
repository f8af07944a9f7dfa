"""Edits that are given several images, against diffusers' own pipelines, and computed alike by rollout and learner."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from actors.flow_path import FlowSde
from actors.image_model import ImageModel
from actors.model_families import load_editor
from learner.config import LearnerConfig
from learner.flow_policy import FlowPolicy
from learner.samples import EditorSample
from tests.pipeline_edits import PROMPTS, SEEDS, STEPS, apart, pipelines_edit
from tests.tiny_families import EDITORS, SQUARE, WIDE, images

SDE = FlowSde(eta=0.9, steps=STEPS)
FIRST = images(3, WIDE)[2]


@pytest.fixture(scope="module", params=["flux2-klein", "qwen-image-edit-plus"])
def editor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ImageModel:
    family = EDITORS[request.param]
    folder = family.build(tmp_path_factory.mktemp(request.param) / "model")
    return load_editor(folder, **{**family.settings, "image_size": WIDE})


def pairs() -> list[np.ndarray]:
    return [np.stack([image, FIRST]) for image in images(2, WIDE)]


def test_an_edit_with_two_images_is_that_of_the_diffusers_pipeline_to_one_grey_level(
    editor: ImageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits = editor.edit(pairs(), PROMPTS, SEEDS, steps=STEPS)
    alone = editor.edit(images(2, WIDE), PROMPTS, SEEDS, steps=STEPS)
    for row, edit in enumerate(edits):
        expected, _ = pipelines_edit(editor, monkeypatch, row, beside=FIRST)
        assert edit.image.shape == (64, 96, 3)
        assert apart(edit.image, expected) <= 1
        assert apart(edit.image, alone[row].image) > 5


def test_one_image_in_a_stack_is_one_image(editor: ImageModel) -> None:
    (image,) = images(1, WIDE)
    stacked, plain = (editor.edit([one], PROMPTS[:1], SEEDS[:1], SDE)[0] for one in (image[None], image))
    assert stacked.path is not None
    assert plain.path is not None
    np.testing.assert_array_equal(stacked.image, plain.image)
    np.testing.assert_array_equal(stacked.path.latents, plain.path.latents)


def test_the_learner_finds_the_log_probs_of_edits_with_two_images(editor: ImageModel) -> None:
    name = "flux2-klein" if "Flux2" in type(editor.pipe).__name__ else "qwen-image-edit-plus"
    settings = {**EDITORS[name].settings, "image_size": WIDE}
    policy = FlowPolicy(editor.pipe.name_or_path, LearnerConfig(), **settings)
    edits = editor.edit(pairs(), PROMPTS, SEEDS, SDE)
    sampled = [(image, prompt, edit.path) for image, prompt, edit in zip(pairs(), PROMPTS, edits, strict=True)]
    samples = [EditorSample(image, prompt, path, 1.0) for image, prompt, path in sampled if path is not None]
    batches = policy.batches(samples)
    assert sum(batch.count for batch in batches) == 2 * (STEPS - 1)
    for batch in batches:
        assert policy.mismatch(batch, policy.evaluate(policy.module, batch).log_probs).max() <= 1e-4


def test_more_images_than_the_model_takes_are_refused(editor: ImageModel) -> None:
    (image,) = images(1, WIDE)
    many = np.stack([image] * (editor.most_sources + 1))
    with pytest.raises(ValueError, match=rf"image 0 is {len(many)} images; .* at most {editor.most_sources}$"):
        editor.edit([many], PROMPTS[:1], SEEDS[:1])
    with pytest.raises(ValueError, match="image 1 is 2 images, and image 0 is 1; give each edit as many"):
        editor.edit([image, many[:2]], PROMPTS, SEEDS)
    with pytest.raises(ValueError, match="image 0 is uint8 of shape"):
        editor.edit([many[:, :, :64]], PROMPTS[:1], SEEDS[:1])


@pytest.mark.parametrize("name", ["flux-kontext", "qwen-image-edit"])
def test_a_family_that_takes_one_image_refuses_two(name: str, tmp_path: Path) -> None:
    family = EDITORS[name]
    editor = load_editor(family.build(tmp_path / "model"), **family.settings)
    pair = np.stack(images(2, SQUARE))
    with pytest.raises(ValueError, match="image 0 is 2 images; an edit with this model takes at most 1"):
        editor.edit([pair], PROMPTS[:1], SEEDS[:1])
    with pytest.raises(ValueError, match="at most 1"):
        editor.conditioning([pair], PROMPTS[:1])
