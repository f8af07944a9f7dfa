"""The run files for large models: they lack nothing but the data, and their adapters bind to these architectures."""

import math
from pathlib import Path

import pytest

from benchmarks.tiny_families.__main__ import PRESETS, build
from learner.skeleton import skeleton
from presets.placement import in_order
from presets.run_file import ConfigError, load_config, model_source
from tests.places import ROOT
from weights.lora import bindings

DATA = ROOT / "tests" / "data" / "laion_sg_example.json"


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
def test_what_all_presets_have_in_common(name):
    config = load_config(preset(name), [f"data.path={DATA}"])
    assert (config.diffuser.image_size, config.rollout.dialogue) == (512, "general")
    assert 2e-6 <= config.learner.editor.clip_low == config.learner.editor.clip_high <= 1e-4
    for policy in ("actor", "editor"):
        learner = getattr(config.learner, policy)
        assert learner.lora.alpha == 2 * learner.lora.rank
        assert (learner.kl_coefficient, learner.epochs * learner.minibatches) == (0.0, 1)
        assert learner.zero_stage >= 2
    for value in (config.models.flux, config.models.edits_with, config.models.actor, config.models.checker):
        assert value.startswith("hf://")
        assert model_source(value).count("/") == 1
    roles = [config.diffuser, config.editor, *config.vlms.values(), config.learner.actor, config.learner.editor]
    parts = [role for role in roles if role is not config.diffuser or not config.diffuser.share]
    assert all(role.start_deadline_s >= 1800 for role in parts)  # the first start is from a cold cache


@pytest.mark.parametrize(
    ("name", "group", "editor"),
    [
        ("cluster", 21, (6, 28, 2.5, 0.9, None)),
        ("eight-gpus", 21, (6, 28, 2.5, 0.9, None)),
        ("qwen-image-edit", 16, (10, 50, 4.0, 1.0, 512)),
        ("one-gpu", 12, (4, None, 1.0, 0.7, None)),
    ],
)
def test_a_preset_has_the_published_settings(name, group, editor):
    config = load_config(preset(name), [f"data.path={DATA}"])
    its = config.editor
    assert config.rollout.group_size == group
    assert (its.steps, its.evaluation_steps, its.guidance, its.eta, its.source_size) == editor


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_asks_for_as_many_gpus_as_its_roles_take(name):
    config = load_config(preset(name), [f"data.path={DATA}"])
    gpus = {"editor": config.editor.workers * config.editor.gpus}
    gpus |= {role: vlm.replicas * vlm.gpus for role, vlm in config.vlms.items()}
    if not config.diffuser.share:
        gpus["diffuser"] = config.diffuser.workers * config.diffuser.gpus
    learners = {f"learner.{policy}": getattr(config.learner, policy) for policy in config.trained}
    shared = [role for group in config.placement.share for role in group]
    alone = sum(count for role, count in gpus.items() if role not in shared)
    alone += max((one.ranks * one.gpus_per_rank for role, one in learners.items() if role not in shared), default=0)
    if config.sync.editor == "nccl":
        alone += config.sync.sender_gpus
    counts = {**dict.fromkeys(config.vlms, 1), "editor": config.editor.workers, "diffuser": config.diffuser.workers}
    together = sum(counts[in_order(group)[0]] for group in config.placement.share)
    assert math.ceil(alone) + together == config.needs.gpus


@pytest.mark.parametrize("name", PRESETS)
def test_a_presets_adapters_bind_to_the_architectures(name, tmp_path):
    config = load_config(preset(name), [f"data.path={DATA}"])
    models = build(name, tmp_path)
    bound = bindings(skeleton("editor", str(models["editor"])), config.learner.editor.lora)
    assert {layer.partition(".")[0] for layer in bound} <= {"transformer_blocks", "single_transformer_blocks"}
    attention = {layer.rpartition(".")[2] for layer in bound}
    assert {"to_q", "to_k", "to_v"} <= attention
    if name in ("cluster", "eight-gpus"):
        assert any(".ff.net." in layer for layer in bound)
        assert any(".ff_context.net." in layer for layer in bound)
    bound = bindings(skeleton("actor", str(models["actor"])), config.learner.actor.lora)
    layers = {"qwen2.5": 2, "qwen3": 3}[PRESETS[name].vlm]
    assert len(bound) == 7 * layers  # four projections of attention, three of the feed-forward part, in each layer
    assert all("language_model" in layer for layer in bound)


def test_what_large_models_cannot_do_is_refused_by_name():
    for change, named in (
        ("learner.editor.zero_stage=0", "dtype is bfloat16 with zero_stage 0"),
        ("sync.actor=nccl", r"sync\.actor: 'nccl' is refused with learner\.actor\.lora"),
        ("editor.guidance=0.5", r"editor\.guidance: 0\.5 is refused"),
        ("editor.gpus=0", r"sync\.editor: 'nccl' is refused with editor\.gpus 0"),
    ):
        with pytest.raises(ConfigError, match=named):
            load_config(preset("cluster"), [f"data.path={DATA}", change])
