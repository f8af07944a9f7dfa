"""Where the Actor's adapter lies, and which VLMs are deployed for it."""

import re
from pathlib import Path

import pytest

from presets.checks import cpu_demand
from presets.errors import ConfigError
from presets.run_config import RunConfig
from presets.run_file import load_config

LORA = "learner.actor.lora={rank: 4, target_modules: [q_proj]}"


def test_the_actors_engine_has_room_for_the_learners_adapter(run_file: Path) -> None:
    assert "enable_lora" not in load_config(run_file).actor_vlm.engine_arguments
    arguments = load_config(run_file, [LORA]).actor_vlm.engine_arguments
    assert {name: arguments[name] for name in ("enable_lora", "max_loras", "max_cpu_loras", "max_lora_rank")} == {
        "enable_lora": True,
        "max_loras": 1,
        "max_cpu_loras": 1,
        "max_lora_rank": 8,  # vLLM's next one
    }
    assert load_config(run_file, [LORA, "vlm.actor.adapter=merged"]).actor_vlm.adapter_rank is None
    with pytest.raises(ConfigError, match=r"vlm\.actor\.dtype: 'float32' is refused with learner\.actor\.lora on GPUs"):
        load_config(run_file, [LORA, "vlm.actor.gpus=1"])


def test_one_deployment_is_actor_and_checker_where_the_base_is_one(run_file: Path) -> None:
    base = "models.checker=" + load_config(run_file).models.actor
    assert set(load_config(run_file).vlms) == set(load_config(run_file, [base]).vlms) == {"actor", "checker"}
    shared = load_config(run_file, [base, LORA, "vlm.checker.system_prompt=judge"])
    assert set(shared.vlms) == {"actor"}
    assert shared.vlms["actor"].base_system_prompt == "judge"
    assert "vlm.checker" not in cpu_demand(shared)
    for own in ("vlm.share=false", "vlm.checker.replicas=2", "vlm.checker.dtype=bfloat16", "vlm.actor.adapter=merged"):
        assert set(load_config(run_file, [base, LORA, own]).vlms) == {"actor", "checker"}, own
    apart = load_config(run_file, [base, LORA, "vlm.actor.dtype=bfloat16", "vlm.checker.dtype=float32"])
    assert set(apart.vlms) == {"actor", "checker"}  # it was written, also where it is what nobody needs to write
    for config in (shared, apart):  # and is remembered where every value is written
        assert RunConfig.model_validate(config.model_dump(mode="json")).vlms.keys() == config.vlms.keys()
    like = ["vlm.checker.max_num_seqs=8", "vlm.actor.max_num_seqs=8"]
    assert set(load_config(run_file, [base, LORA, *like]).vlms) == {"actor"}


@pytest.mark.parametrize(
    ("key", "source"),
    [
        ("vlm.actor.adapter_rank=4", "learner.actor.lora.rank"),
        ("vlm.actor.answer_form.regex=a", "rollout.answer_form"),
        ("vlm.checker.answer_form.regex=a", "rollout.answer_form"),
        ("vlm.checker.base_system_prompt=a", "vlm.checker.system_prompt"),
    ],
)
def test_what_a_run_gives_its_engines_is_said_elsewhere(run_file: Path, key: str, source: str) -> None:
    name = key.partition("=")[0].removesuffix(".regex")
    with pytest.raises(ConfigError, match=re.escape(name) + ": .* is refused: it follows from " + re.escape(source)):
        load_config(run_file, [key])


def test_one_deployment_of_two_models_is_refused(run_file: Path) -> None:
    base = "models.checker=" + load_config(run_file).models.actor
    with pytest.raises(ConfigError, match=r"vlm\.share: True is refused: models\.actor"):
        load_config(run_file, ["vlm.share=true", LORA])
    with pytest.raises(ConfigError, match=r"vlm\.share: True is refused: the Actor has no adapter beside"):
        load_config(run_file, ["vlm.share=true", base])
