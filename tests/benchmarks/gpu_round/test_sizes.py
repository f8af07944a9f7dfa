"""What of the preset a size changes, and the models of a size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.gpu_round.memory import CardWatch
from benchmarks.gpu_round.random_models import EDITOR, VLM
from benchmarks.gpu_round.sizes import Size, build, round_config
from presets.memory.published import PIPELINES, VLMS
from presets.memory.sizes import Sizes
from tests.places import ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Models that hold only their index, which is all that the configuration looks at."""
    for name, index in (("editor", "model_index.json"), ("flux", "model_index.json"), ("vlm", "config.json")):
        (tmp_path / name).mkdir()
        (tmp_path / name / index).write_text("{}")
    (tmp_path / "records.json").write_text("[]")
    return tmp_path


@pytest.mark.parametrize("size", ["tiny", "real"])
def test_on_a_card_all_share_it_as_the_preset_has_it(folder: Path, size: Size) -> None:
    config = round_config(size, folder, "cuda")
    assert config.placement.share == [["editor", "actor", "learner.actor", "learner.editor"]]
    assert (config.editor.gpus, config.vlm.actor.gpus) == (0.5001, 0.25)
    assert config.diffuser.share
    assert {config.editor.offload, config.vlm.actor.offload, config.learner.editor.offload} == {"cpu"}
    assert config.diffuser.image_size == {"tiny": 64, "real": 512}[size]
    assert config.vlm.actor.start_deadline_s == 300  # eight minutes are all there is


@pytest.mark.parametrize("size", ["tiny", "small"])
def test_without_a_card_nobody_asks_for_one(folder: Path, size: Size) -> None:
    config = round_config(size, folder, "cpu")
    assert config.placement.share == []
    assert not config.gpu_learner
    assert (config.editor.gpus, config.vlm.actor.gpus) == (0, 0)
    assert config.editor.steps == 4  # three of them stochastic, as in the preset
    assert config.learner.editor.dtype == "bfloat16"


def test_real_sizes_are_those_of_the_preset_s_models() -> None:
    preset = (ROOT / "presets" / "one-gpu.yaml").read_text()
    assert f"flux: hf://{EDITOR}" in preset
    assert f"actor: hf://{VLM}" in preset
    assert EDITOR in PIPELINES
    assert VLM in VLMS


def test_without_a_card_nothing_is_watched() -> None:
    with CardWatch(False) as watch:
        assert watch.take() is None


@pytest.mark.engines
def test_small_models_are_built_as_the_real_ones_and_run(tmp_path: Path) -> None:
    from transformers import AutoProcessor

    from actors.flow_path import FlowSde
    from actors.model_families import load_editor
    from learner.config import LearnerConfig
    from learner.samples import ActorSample
    from learner.vlm_policy import VlmPolicy

    build("small", tmp_path, "cpu")
    written = (tmp_path / "editor" / "model_index.json").stat().st_mtime_ns
    build("small", tmp_path, "cpu")  # they are there
    assert (tmp_path / "editor" / "model_index.json").stat().st_mtime_ns == written
    config, sizes = round_config("small", tmp_path, "cpu"), Sizes(ask_hub=False)
    assert sizes.model(config.models.edits_with).pipeline == "Flux2KleinPipeline"
    assert sizes.model(config.models.actor).part("").text["vocab_size"] == 151936

    picture = np.full((128, 128, 3), 90, np.uint8)
    editor = load_editor(config.models.edits_with, image_size=128, max_sequence_length=64, dtype="bfloat16")
    (edit,) = editor.edit([picture], ["move it"], [1], FlowSde(eta=0.7, steps=2))
    assert np.isfinite(edit.path.latents).all()

    policy = VlmPolicy(config.models.actor, LearnerConfig(micro_batch=1))
    ids = [5, 150_000, policy.processor.tokenizer.eos_token_id]  # the tokenizer knows fewer words than the model
    (batch,) = policy.batches([ActorSample(picture, "what is wrong?", ids, [0.0] * 3, 1.0)])
    assert np.isfinite(policy.evaluate(policy.module, batch).log_probs.detach().float().numpy()).all()
    kind = type(AutoProcessor.from_pretrained(config.models.actor)).__name__
    assert kind == "Qwen3VLProcessor"
