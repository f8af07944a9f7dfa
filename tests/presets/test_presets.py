"""The run files for large models: they lack nothing but the data, and their adapters bind to these architectures."""

from pathlib import Path

import pytest

from benchmarks.tiny_families.flux import build_flux_kontext
from benchmarks.tiny_families.qwen_image import build_qwen_image_edit
from benchmarks.tiny_families.qwen_vl import build_qwen_vl
from learner.skeleton import skeleton
from presets.run_file import ConfigError, load_config, model_source
from tests.places import ROOT
from weights.lora import bindings

DATA = ROOT / "tests" / "data" / "laion_sg_example.json"
PRESETS = {"flux-kontext-qwen": build_flux_kontext, "qwen-image-edit": build_qwen_image_edit}


def preset(name: str) -> Path:
    return ROOT / "presets" / f"{name}.yaml"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_lacks_nothing_but_the_data(name):
    with pytest.raises(ConfigError) as error:
        load_config(preset(name))
    (problem,) = str(error.value).splitlines()[1:]
    assert problem.startswith("  data.path: 'laion_sg.json' is no file")
    load_config(preset(name), [f"data.path={DATA}"])


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_the_published_settings(name):
    config = load_config(preset(name), [f"data.path={DATA}"])
    assert (config.rollout.group_size, config.diffuser.image_size) == (21, 512)
    editor = config.editor
    assert (editor.steps, editor.evaluation_steps, editor.guidance, editor.eta) == (6, 28, 2.5, 0.9)
    assert 2e-6 <= config.learner.editor.clip_low == config.learner.editor.clip_high <= 1e-4
    assert config.sync.editor == "nccl"
    for policy in ("actor", "editor"):
        learner = getattr(config.learner, policy)
        assert (learner.lora.rank, learner.lora.alpha, learner.kl_coefficient) == (64, 128.0, 0.0)
        assert learner.zero_stage >= 2
        assert learner.gpus_per_rank == 1
        assert learner.epochs * learner.minibatches == 1
    for value in (config.models.flux, config.models.edits_with, config.models.actor, config.models.checker):
        assert value.startswith("hf://")
        assert model_source(value).count("/") == 1
    assert config.vlm.actor.model == "Qwen/Qwen2.5-VL-7B-Instruct"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_asks_for_as_many_gpus_as_its_roles_take(name):
    config = load_config(preset(name), [f"data.path={DATA}"])
    roles = [(config.diffuser.workers, config.diffuser.gpus), (config.editor.workers, config.editor.gpus)]
    roles += [(vlm.replicas, vlm.gpus) for vlm in (config.vlm.actor, config.vlm.checker)]
    learners = max(learner.ranks * learner.gpus_per_rank for learner in (config.learner.actor, config.learner.editor))
    sender = config.sync.sender_gpus
    assert sum(workers * gpus for workers, gpus in roles) + learners + sender == config.needs.gpus


@pytest.mark.parametrize("name", PRESETS)
def test_a_presets_adapters_bind_to_the_architectures(name, tmp_path):
    config = load_config(preset(name), [f"data.path={DATA}"])
    editor, actor = PRESETS[name](tmp_path / "editor"), build_qwen_vl(tmp_path / "actor")
    bound = bindings(skeleton("editor", str(editor)), config.learner.editor.lora)
    assert {name.partition(".")[0] for name in bound} <= {"transformer_blocks", "single_transformer_blocks"}
    bound = bindings(skeleton("actor", str(actor)), config.learner.actor.lora)
    assert len(bound) == 7 * 2  # four projections of attention, three of the feed-forward part, in two layers
    assert all("language_model" in name for name in bound)


def test_what_large_models_cannot_do_is_refused_by_name():
    for change, named in (
        ("learner.editor.zero_stage=0", "dtype is bfloat16 with zero_stage 0"),
        ("sync.actor=nccl", r"sync\.actor: 'nccl' is refused with learner\.actor\.lora"),
        ("editor.guidance=0.5", r"editor\.guidance: 0\.5 is refused"),
        ("editor.gpus=0", r"sync\.editor: 'nccl' is refused with editor\.gpus 0"),
    ):
        with pytest.raises(ConfigError, match=named):
            load_config(preset("flux-kontext-qwen"), [f"data.path={DATA}", change])
