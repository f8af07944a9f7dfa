import subprocess
import sys

import pytest
from pydantic import ValidationError

from serving.config import VlmConfig


def test_a_folder_becomes_absolute(tmp_path, monkeypatch):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert VlmConfig(model="./m").model == str(tmp_path / "m")
    assert VlmConfig(model="./m").environment["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize("model", ["/nowhere/model", "./nowhere", "a/b/c"])
def test_a_missing_folder_is_refused_with_its_name(model):
    with pytest.raises(ValidationError, match=f"the folder '{model}' does not exist"):
        VlmConfig(model=model)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ValidationError, match=r"holds no config.json"):
        VlmConfig(model=str(tmp_path))


def test_a_hub_id_stays_and_may_go_online():
    config = VlmConfig(model="Qwen/Qwen2.5-VL-7B-Instruct", gpus=2, kv_cache_gib=None)
    assert config.model == "Qwen/Qwen2.5-VL-7B-Instruct"
    assert "HF_HUB_OFFLINE" not in config.environment
    assert config.engine_arguments["tensor_parallel_size"] == 2
    assert config.engine_arguments["enforce_eager"] is False
    assert config.engine_arguments["kv_cache_memory_bytes"] is None


def test_a_part_of_a_gpu_is_all_that_a_replica_takes():
    config = VlmConfig(model="a/b", gpus=0.25, cpus=1.0)
    assert (config.devices, config.bundles) == (1, [{"GPU": 0.25, "CPU": 1.0}])
    assert config.engine_arguments["gpu_memory_utilization"] == pytest.approx(0.23)
    assert config.engine_arguments["enforce_eager"] is False
    told = VlmConfig(model="a/b", gpus=0.25, engine={"gpu_memory_utilization": 0.2})
    assert told.engine_arguments["gpu_memory_utilization"] == 0.2
    whole = VlmConfig(model="a/b", gpus=2)
    assert (whole.devices, len(whole.bundles)) == (2, 2)
    assert "gpu_memory_utilization" not in whole.engine_arguments
    with pytest.raises(ValidationError, match=r"1\.5 is refused: give a part of one GPU, below 1, or a whole number"):
        VlmConfig(model="a/b", gpus=1.5)


@pytest.mark.parametrize(("field", "value"), [("replicas", 0), ("cpus", -1.0), ("max_tokens", 0), ("surprise", 1)])
def test_a_wrong_value_is_refused_with_the_field(field, value):
    with pytest.raises(ValidationError, match=field):
        VlmConfig(model="a/b", **{field: value})


def test_engine_arguments_are_passed_on_and_do_not_override_fields():
    assert VlmConfig(model="a/b", engine={"seed": 3}).engine_arguments["seed"] == 3
    for name, value in {"dtype": "bfloat16", "mm_processor_cache_gb": 4}.items():
        with pytest.raises(ValidationError, match=f"'{name}' is set by its own field"):
            VlmConfig(model="a/b", engine={name: value})


def test_prepared_images_take_no_more_memory_than_the_settings_say():
    assert VlmConfig(model="a/b").engine_arguments["mm_processor_cache_gb"] == 0.0625
    assert VlmConfig(model="a/b", image_cache_gib=2.0).engine_arguments["mm_processor_cache_gb"] == 2.0


def test_a_cpu_replica_does_not_bind_cores():
    variables = VlmConfig(model="a/b", threads=2).environment
    assert variables["OMP_NUM_THREADS"] == "2"
    assert variables["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"


def test_a_replica_asks_for_a_bundle_for_each_of_its_gpus():
    assert VlmConfig(model="a/b", cpus=2).bundles == [{"CPU": 2}]
    assert VlmConfig(model="a/b", cpus=2, gpus=3).bundles == [{"GPU": 1, "CPU": 2}] * 3


def test_settings_load_no_engine():
    code = "import sys, serving.config; sys.exit(any(m in sys.modules for m in ('ray', 'vllm', 'torch')))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
