"""What `--run` puts in the place of a preset's models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from presets.choice.trained_models import chosen_models, trained_models
from presets.errors import BadInput
from presets.run_file import load_config
from weights.adapter_folder import AdapterFolder
from weights.adapter_spec import AdapterSpec, Target

VERSIONS = {"actor": 32, "editor": 16}
SPEC = AdapterSpec(4, 8.0, (Target("layers.0.q_proj", "layers.0.q_proj.weight"),), "bfloat16", "digest")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that trained an Actor as an adapter, and an editor with all its weights."""
    for policy in ("actor", "editor"):
        (tmp_path / "run" / "models" / policy).mkdir(parents=True)
    for name in ("model_index.json", "config.json"):
        for policy in ("actor", "editor"):
            (tmp_path / "run" / "models" / policy / name).write_text("{}")
    (tmp_path / "run" / "models" / "actor" / "lora").mkdir()
    return tmp_path / "run"


def write(run: Path, base: str) -> Path:
    lora = run / "models" / "actor" / "lora"
    AdapterFolder(SPEC, base, "adapter_model.safetensors", "base_model.model.").write(lora)
    return lora


def test_an_adapter_stays_beside_the_model_that_it_belongs_to(run: Path, run_file: Path) -> None:
    config = load_config(run_file)
    lora = write(run, config.models.actor)
    found = trained_models(config, run)
    assert found.models.adapters == {"actor": str(lora)}
    assert (found.models.actor, found.vlm.actor.model) == (config.models.actor, config.models.actor)
    assert found.actor_vlm.adapter_rank == 4
    assert found.models.editor == str(run / "models" / "editor")
    assert trained_models(config, None) is config


def test_a_base_on_the_hub_keeps_its_name(run: Path, run_file: Path) -> None:
    write(run, "Qwen/Qwen2.5-VL-7B-Instruct")
    found = trained_models(load_config(run_file), run)
    assert found.models.actor == "hf://Qwen/Qwen2.5-VL-7B-Instruct"
    assert found.vlm.actor.model == "Qwen/Qwen2.5-VL-7B-Instruct"


def test_the_whole_weights_are_used_where_the_adapter_cannot_be(run: Path, run_file: Path) -> None:
    config, whole = load_config(run_file), str(run / "models" / "actor")
    assert trained_models(config, run).models.actor == whole  # an older run: nothing says what the adapter belongs to
    write(run, "/gone/model")
    assert trained_models(config, run).models.actor == whole
    write(run, config.models.actor)
    merged = trained_models(load_config(run_file, ["vlm.actor.adapter=merged"]), run)
    assert (merged.models.actor, merged.models.adapters) == (whole, {})


def test_nonsense_about_an_adapter_is_refused(run: Path, run_file: Path) -> None:
    (run / "models" / "actor" / "lora" / "rlrig.json").write_text("{}")
    with pytest.raises(BadInput, match=r"--run: .*rlrig\.json is not what a run wrote"):
        trained_models(load_config(run_file), run)
    with pytest.raises(BadInput, match="holds neither models/actor nor models/editor"):
        trained_models(load_config(run_file), run / "models")


def test_training_starts_from_no_adapter(run: Path, run_file: Path, tmp_path: Path) -> None:
    from rlrig.training import train
    from rollout.progress import Progress

    config = load_config(run_file)
    write(run, config.models.actor)
    with pytest.raises(BadInput, match=r"models\.adapters: .* is refused in training"):
        train(trained_models(config, run), tmp_path / "out", False, Progress())


@pytest.fixture
def shipped(run: Path, run_file: Path) -> Path:
    """A folder of trained models beside the run file."""
    folder = run.rename(run_file.parent / "trained")
    (folder / "models" / "actor" / "lora").rmdir()
    (folder / "made.json").write_text(json.dumps({"run_file": run_file.name, "versions": VERSIONS}))
    return folder


def test_trained_models_beside_a_run_file_are_used_unless_raw_ones_are_asked_for(shipped: Path, run_file: Path) -> None:
    config = load_config(run_file)
    for asked in (None, "trained"):
        found, versions = chosen_models(config, run_file, asked)
        assert found.models.actor == found.vlm.actor.model == str(shipped / "models" / "actor")
        assert found.models.editor == str(shipped / "models" / "editor")
        assert found.models.flux == config.models.flux
        assert versions == VERSIONS
    assert chosen_models(config, run_file, "raw") == (config, {"actor": 0, "editor": 0})


def test_models_that_a_setting_names_count_more(shipped: Path, run_file: Path) -> None:
    config = load_config(run_file, [f"models.actor={shipped}/models/actor"])
    assert chosen_models(config, run_file, None) == (config, {"actor": 0, "editor": 0})
    with pytest.raises(BadInput, match="--models trained: --set models"):
        chosen_models(config, run_file, "trained")


def test_another_run_file_has_none(shipped: Path, run_file: Path) -> None:
    other = run_file.rename(run_file.with_name("other.yaml"))
    config = load_config(other)
    assert chosen_models(config, other, None) == (config, {"actor": 0, "editor": 0})
    with pytest.raises(BadInput, match=r"--models trained: .*other\.yaml has no trained models beside it"):
        chosen_models(config, other, "trained")
