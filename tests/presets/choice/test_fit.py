"""What decides whether the models can be in the process of the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from presets.choice import fit
from presets.choice.fit import why_on_ray
from presets.run_file import load_config
from tests.places import TINY


def test_small_folders_on_cpus_need_no_ray(run_file: Path) -> None:
    assert why_on_ray(load_config(run_file)) is None
    assert why_on_ray(load_config(TINY / "run.yaml")) is None


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["ray.address=auto"], "ray.address is auto"),
        (["diffuser.gpus=0.5"], "diffuser.gpus is 0.5"),
        (["editor.gpus=1"], "editor.gpus is 1"),
        (["vlm.actor.gpus=2"], "vlm.actor.gpus is 2"),
        (["vlm.checker.gpus=1"], "vlm.checker.gpus is 1"),
        (["rollout.answer_form.regex=move .*"], "rollout.answer_form is set"),
        (["vlm.checker.dtype=bfloat16"], "vlm.checker.dtype is bfloat16"),
        (["vlm.actor.engine={seed: 1}"], "vlm.actor.engine is set"),
        (["models.actor=hf://owner/name"], "models.actor is hf://owner/name"),
        (["models.flux=hf://owner/name"], "models.flux is hf://owner/name"),
    ],
)
def test_what_needs_ray_is_named_by_its_key(run_file: Path, overrides: list[str], reason: str) -> None:
    assert why_on_ray(load_config(run_file, overrides)) == reason


def test_a_merged_adapter_needs_ray(run_file: Path) -> None:
    beside = ["models.adapters.actor=lora", "learner.actor.lora={rank: 2, alpha: 2, target_modules: [q_proj]}"]
    assert why_on_ray(load_config(run_file, beside)) is None
    merged = load_config(run_file, [*beside, "vlm.actor.adapter=merged"])
    assert why_on_ray(merged) == "vlm.actor.adapter is merged"


def test_the_weights_of_all_folders_are_added_up(run_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(run_file)
    (Path(config.models.flux) / "transformer").mkdir()
    (Path(config.models.flux) / "transformer" / "model.safetensors").write_bytes(bytes(600))
    (Path(config.models.actor) / "model.safetensors").write_bytes(bytes(400))
    monkeypatch.setattr(fit, "MOST_BYTES", 1000)
    assert why_on_ray(config) is None
    (Path(config.models.checker) / "model-00002.safetensors").write_bytes(bytes(1))
    assert why_on_ray(config) == "the models have 0.0 GB, more than 1e-06 GB"
    one = load_config(run_file, [f"models.checker={config.models.actor}"])  # counted once
    assert why_on_ray(one) is None
