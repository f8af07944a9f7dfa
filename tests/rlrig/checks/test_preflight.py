from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from presets.disk import trajectories_on_disk
from presets.errors import BadInput
from presets.run_file import load_config
from rlrig.checks.preflight import check_adapters, check_answer_form, check_disk, check_models
from tests.places import PRESET


@pytest.fixture
def config(run_file: Path):
    """A run whose model folders hold small but whole weight files."""
    models = run_file.parent / "models"
    for part in ("actor", "checker", "flux/vae", "flux/transformer", "flux/text_encoder", "flux/text_encoder_2"):
        (models / part).mkdir(exist_ok=True, parents=True)
        save_file({"weight": np.zeros((4, 4), np.float32)}, models / part / "model.safetensors")
    return load_config(run_file)


def test_whole_models_pass(config):
    check_models(config)


@pytest.mark.parametrize(
    ("part", "key"),
    [("checker", "models.checker"), ("actor", "models.actor"), ("flux/transformer", "models.flux")],
)
def test_damaged_weights_are_refused_with_key_and_file(config, run_file, part, key):
    path = run_file.parent / "models" / part / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadInput, match=rf"{key}: .*{part}/model\.safetensors is damaged"):
        check_models(config)


def test_weights_that_are_missing_are_refused(config, run_file):
    (run_file.parent / "models" / "flux" / "vae" / "model.safetensors").unlink()
    with pytest.raises(BadInput, match=r"models\.flux: .*vae holds no \.safetensors file"):
        check_models(config)


def test_a_disk_without_room_is_refused_with_the_setting_that_fits(config, monkeypatch, tmp_path):
    disk = trajectories_on_disk(config)
    place = SimpleNamespace(free=disk.total)
    monkeypatch.setattr("rlrig.checks.preflight.shutil.disk_usage", lambda _: place)
    out = tmp_path / "runs" / "new"
    check_disk(config, out, 0)
    place.free = disk.total - 1
    with pytest.raises(BadInput, match=r"new: .* GiB are free, .*; set keep\.editor=images .*\(stages\)"):
        check_disk(config, out, 0)
    check_disk(config, out, 1)  # what is done takes no more
    place.free = 0
    with pytest.raises(BadInput, match=r"GiB; ask for fewer updates"):
        check_disk(config, out, 0)


def test_adapters_whose_layers_exist_pass():
    check_adapters(load_config(PRESET))
    check_adapters(
        load_config(
            PRESET, ["learner.actor.lora={target_modules: [q_proj]}", "learner.editor.lora.target_modules=[to_q]"]
        )
    )


@pytest.mark.parametrize("policy", ["actor", "editor"])
def test_an_adapter_that_binds_to_nothing_is_refused_by_name_before_anything_starts(policy):
    config = load_config(PRESET, [f"learner.{policy}.lora={{target_modules: [nowhere]}}"])
    with pytest.raises(
        BadInput, match=rf"learner\.{policy}, model .*: .*'nowhere' binds to zero modules; .* (to_q|q_proj)"
    ):
        check_adapters(config)


def test_an_adapter_of_a_policy_that_does_not_train_is_not_looked_at():
    overrides = ["stages=[{stage: editor, updates: 1}]", "learner.actor.lora={target_modules: [nowhere]}"]
    check_adapters(load_config(PRESET, overrides))


def test_a_form_of_answers_that_cannot_be_compiled_is_refused_before_anything_starts():
    check_answer_form(load_config(PRESET, ["rollout.answer_form.regex='reflection:[a-z_]+'"]))
    config = load_config(PRESET, ["rollout.answer_form.regex='(a'"])
    assert config.actor_vlm.engine_arguments["structured_outputs_config"] == {"backend": "xgrammar"}
    with pytest.raises(BadInput, match=r"rollout\.answer_form, model .*: rollout\.answer_form cannot be compiled"):
        check_models(config)
