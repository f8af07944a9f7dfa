import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from presets.checks import cpu_demand
from presets.errors import ConfigError
from presets.run_config import RunConfig
from presets.run_file import apply_overrides, dump_config, load_config, read_run_file
from tests.places import ROOT


def refused(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_config(path, overrides)
    return str(error.value)


def test_defaults_are_a_runnable_configuration(run_file: Path) -> None:
    config = load_config(run_file)
    assert [(stage.stage, stage.updates) for stage in config.stages] == [("actor", 2), ("editor", 3)]
    assert config.total_updates == 5
    assert config.trained == {"actor", "editor"}
    assert sum(cpu_demand(config).values()) <= config.ray.num_cpus


def test_values_said_once_reach_the_engines(run_file: Path) -> None:
    config = load_config(run_file, ["rollout.max_answer_tokens=7", "rollout.sampling_temperature=0.5"])
    assert config.models.actor == str(run_file.parent / "models" / "actor")
    assert config.vlm.actor.model == config.models.actor
    assert config.vlm.checker.model == config.models.checker
    assert config.vlm.actor.max_tokens == 7
    assert config.learner.actor.temperature == 0.5


def test_the_editor_keeps_its_small_clip_when_another_key_is_set(run_file: Path) -> None:
    config = load_config(run_file, ["learner.editor.learning_rate=1e-5"])
    assert config.learner.editor.clip_low == config.learner.editor.clip_high == 1e-3
    assert config.learner.editor.learning_rate == 1e-5


def test_a_dumped_configuration_loads_to_the_same_values(run_file: Path, tmp_path: Path) -> None:
    config = load_config(run_file, ["editor.sde_window=[1, 4]", "vlm.actor.engine={seed: 1}"])
    copy = tmp_path / "elsewhere" / "config.yaml"
    copy.parent.mkdir()
    copy.write_text(dump_config(config))
    assert load_config(copy) == config
    assert load_config(copy, ["rollout.max_answer_tokens=9"]).vlm.actor.max_tokens == 9


def test_every_key_of_ours_is_explained() -> None:
    def keys(model: type[BaseModel], prefix: str) -> list[str]:
        silent = []
        for name, field in model.model_fields.items():
            if not field.description and model.__module__ == "presets.run_config":
                silent.append(prefix + name)
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                silent += keys(field.annotation, f"{prefix}{name}.")
        return silent

    assert keys(RunConfig, "") == []


def test_the_preset_says_only_what_the_configuration_knows() -> None:
    presets = list(ROOT.glob("presets/*/run.yaml"))
    assert presets
    for preset in presets:
        assert RunConfig.model_validate(read_run_file(preset)).total_updates >= 1


def test_unknown_key_is_named_with_what_is_allowed(run_file: Path) -> None:
    message = refused(run_file, "rollout.group_sise=8")
    assert "rollout.group_sise: unknown key, did you mean 'group_size'?" in message
    assert "allowed: turns, prompts_per_update, group_size" in message


def test_unknown_section_and_unknown_key_of_an_engine_are_named(run_file: Path) -> None:
    message = refused(run_file, "rolout.turns=1", "vlm.actor.modle=x", "stages.1.update=4")
    assert "rolout: unknown key, did you mean 'rollout'?" in message
    assert "vlm.actor.modle: unknown key, did you mean 'model'?" in message
    assert "stages.1.update: unknown key, did you mean 'updates'?" in message


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("rollout.group_size=1", "rollout.group_size: 1 is refused: must be greater than or equal to 2"),
        ("rollout.turns=0", "rollout.turns: 0 is refused: must be greater than or equal to 1"),
        ("rollout.turns=two", "rollout.turns: 'two' is refused: must be a valid integer"),
        ("rollout.turns='2'", "rollout.turns: '2' is refused: must be a valid integer"),
        ("rollout.turns=true", "rollout.turns: True is refused: must be a valid integer"),
        ("rollout.drop_equal_groups=1", "rollout.drop_equal_groups: 1 is refused: must be a valid boolean"),
        ("stages.0.stage=actr", "stages.0.stage: 'actr' is refused: must be actor, editor or alternate, did you mean"),
        ("stages=[]", "stages: [] is refused: List should have at least 1 item"),
        ("rollout.sampling_temperature=0", "rollout.sampling_temperature: 0 is refused: must be greater than 0"),
        ("editor.eta=0", "editor.eta: 0 is refused: must be greater than 0"),
        ("editor.sde_window=[0, 8]", "editor.sde_window: [0, 8] is refused with editor.steps 8: needs"),
        ("editor.sde_window=[3, 3]", "editor.sde_window: [3, 3] is refused with editor.steps 8"),
        ("editor={sampler: cps, eta: 1.2, steps: 4}", "editor.eta: 1.2 is refused with editor.sampler cps"),
        ("editor.steps=1", "editor.steps: 1 is refused: must be greater than or equal to 2"),
        ("diffuser.image_size=65", "diffuser.image_size: 65 is refused: must be a multiple of 8, as 64 and 72"),
        ("diffuser.width=100", "diffuser.width: 100 is refused: must be a multiple of 8, as 96 and 104"),
        ("diffuser.height=8", "diffuser.height: 8 is refused: must be greater than or equal to 16"),
        ("data.relations=[3, 2]", "data.relations: [3, 2] is refused: needs 1 <= least <= greatest <= 5"),
        ("data.requirements=[presence]", "data.requirements: ['presence'] is refused with data.source shape_world"),
        ("data.requirements=[]", "data.requirements: [] is refused"),
        ("data.requirements=[counts]", "data.requirements.0: 'counts' is refused: must be relations, presence, count"),
        (
            "rollout.dialogue_texts.edit=Lift it.",
            "rollout.dialogue_texts: ['edit'] is refused with rollout.dialogue 'shapes'",
        ),
        ("data.source=laion_sg", "data.path: None is refused with data.source laion_sg"),
        ("data.path=nowhere.json", "data.path: 'nowhere.json' is no file"),
        ("evaluation.prompts=513", "evaluation.prompts: 513 is refused: data.held_out_size holds only 512 prompts"),
        ("ray.num_cpus=2", "ray.num_cpus: 2 is refused: the roles need 3.3"),
        ("learner.actor.temperature=2", "learner.actor.temperature: 2.0 is refused: it follows from rollout.sampling"),
        ("learner.editor.zero_stage=1", "learner.editor: zero_stage is 1 with ranks 1"),
        ("learner.actor.lora.target_modules=[]", "learner.actor.lora.target_modules"),
        ("learner.actor.lora.target_modules='q_proj('", "'q_proj(' is no regular expression"),
        ("learner.editor.lora={rank: 4}", "learner.editor.lora.target_modules"),
        ("models.flux=null", "models.flux: None is refused: must be a valid string"),
        ("sync.actor=nccl", "sync.actor: 'nccl' is refused with vlm.actor.gpus 0: it moves weights between GPUs. Set"),
        ("sync.actor=ipc", "sync.actor: 'ipc' is refused with vlm.actor.gpus 0"),
        ("sync.editor=nccl", "sync.editor: 'nccl' is refused with editor.gpus 0"),
        ("sync.editor=ipc", "sync.editor: 'ipc' is refused: must be object_store, nccl or gloo"),
        ("sync.sender_gpus=0", "sync.sender_gpus: 0 is refused: must be greater than 0"),
        ("editor.max_workers=0", "editor.max_workers: 0 is refused: must be greater than or equal to 1"),
        ("elastic.images_per_worker=0", "elastic.images_per_worker: 0 is refused: must be greater than or equal to 1"),
        ("elastic.idle_s=-1", "elastic.idle_s: -1 is refused: must be greater than or equal to 0"),
        ("vlm.actor.transport=nccl", "vlm.actor.transport: 'nccl' is refused: it follows from sync.actor"),
    ],
)
def test_what_cannot_work_is_refused_by_name(run_file: Path, override: str, expected: str) -> None:
    assert expected in refused(run_file, override)


def test_all_mistakes_come_at_once(run_file: Path) -> None:
    message = refused(run_file, "rollout.turns=0", "editor.eta=-1", "models.actor=nowhere")
    assert len(message.splitlines()) == 4
    for key in ("rollout.turns", "editor.eta", "models.actor"):
        assert f"  {key}: " in message


def test_missing_model_folder_says_where_it_was_looked_for(run_file: Path) -> None:
    message = refused(run_file, "models.checker=models/judge")
    assert f"models.checker: 'models/judge' is no folder (looked for {run_file.parent}/models/judge and " in message
    assert "rlrig pretrain" in message


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["editor.workers=3", "editor.max_workers=2"], "editor.max_workers: 2 is refused with editor.workers 3: it is"),
        (
            ["diffuser.workers=3", "diffuser.max_workers=2"],
            "diffuser.max_workers: 2 is refused with diffuser.workers 3",
        ),
        (["rollout.env_runners=2", "rollout.max_env_runners=1"], "rollout.max_env_runners: 1 is refused with rollout"),
        (["vlm.actor.replicas=2", "vlm.actor.max_replicas=1"], "vlm.actor.max_replicas: 1 is refused with vlm.actor"),
        (["vlm.checker.replicas=2", "vlm.checker.max_replicas=1"], "vlm.checker.max_replicas: 1 is refused with vlm"),
        (["sync.editor=gloo", "editor.max_workers=2"], "editor.max_workers: 2 is refused with sync.editor 'gloo': the"),
        (
            ["sync.actor=nccl", "vlm.actor.gpus=1", "vlm.actor.max_replicas=2"],
            "vlm.actor.max_replicas: 2 is refused with sync.actor 'nccl': the members of its group are fixed. Leave",
        ),
    ],
)
def test_a_range_that_cannot_be_is_refused_by_name(run_file: Path, overrides: list[str], expected: str) -> None:
    assert expected in refused(run_file, *overrides)


def test_a_fleet_is_fixed_unless_it_is_given_a_range(run_file: Path) -> None:
    fixed = load_config(run_file, ["sync.editor=gloo", "editor.max_workers=1"])
    assert (fixed.editor.most_workers, fixed.rollout.most_env_runners, fixed.vlm.actor.elastic) == (1, 1, False)
    grows = load_config(run_file, ["editor.max_workers=4", "vlm.actor.max_replicas=2"])
    assert (grows.editor.workers, grows.editor.most_workers) == (1, 4)
    assert (grows.vlm.actor.most_replicas, grows.vlm.actor.elastic, grows.vlm.checker.elastic) == (2, True, False)


def test_folder_that_holds_no_model_is_refused(run_file: Path) -> None:
    (run_file.parent / "models" / "flux" / "model_index.json").unlink()
    assert "models/flux holds no model_index.json" in refused(run_file)


def test_missing_section_is_named(run_file: Path) -> None:
    run_file.write_text("stages: [{stage: actor, updates: 1}]\n")
    assert refused(run_file).splitlines()[1].startswith("  models: is missing (The models that the run")


def test_hub_models_are_taken_as_they_are(run_file: Path) -> None:
    config = load_config(run_file, ["models.checker=hf://Qwen/Qwen2.5-VL-7B-Instruct"])
    assert config.vlm.checker.model == "Qwen/Qwen2.5-VL-7B-Instruct"


def test_broken_yaml_names_file_line_and_column(run_file: Path) -> None:
    run_file.write_text("seed: 0\nstages: [{stage: actor, updates: 1}\nmodels: x\n")
    assert f"{run_file}, line 3, column" in refused(run_file)
    assert "broken YAML" in refused(run_file)


@pytest.mark.parametrize(("text", "expected"), [("", "is empty"), ("- 1\n", "holds list"), ("42\n", "holds int")])
def test_a_run_file_is_a_mapping(run_file: Path, text: str, expected: str) -> None:
    run_file.write_text(text)
    assert expected in refused(run_file)


def test_a_key_that_occurs_twice_is_refused(run_file: Path) -> None:
    run_file.write_text(run_file.read_text() + "seed: 4\n")
    assert "key 'seed' occurs twice" in refused(run_file)


def test_bytes_that_are_not_text_are_refused(run_file: Path) -> None:
    run_file.write_bytes(b"seed: \xff\xfe\n")
    assert "cannot be read as UTF-8 text" in refused(run_file)


def test_missing_run_file_lists_the_presets(tmp_path: Path) -> None:
    message = refused(tmp_path / "no.yaml")
    assert "no such run file" in message
    assert "presets/tiny/run.yaml" in message


def test_overrides_set_nested_keys_and_leave_the_original_alone() -> None:
    values = {"a": {"b": 1}, "list": [{"c": 2}]}
    changed = apply_overrides(values, ["a.b=2.5", "list.0.c=[x, y]", "new.key=null", "a.rate=1e-4"])
    assert changed == {"a": {"b": 2.5, "rate": 1e-4}, "list": [{"c": ["x", "y"]}], "new": {"key": None}}
    assert values == {"a": {"b": 1}, "list": [{"c": 2}]}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed", "write key.sub=value"),
        ("=3", "write key.sub=value"),
        ("a..b=3", "write key.sub=value"),
        ("a.b=[1", "broken YAML"),
        ("seed.x=1", "seed is 3, which has no keys below it"),
        ("stages.7.updates=1", "'7' is not a position of this list, which has 2 items"),
        ("stages.first.updates=1", "'first' is not a position"),
    ],
)
def test_overrides_that_mean_nothing_are_refused(run_file: Path, override: str, expected: str) -> None:
    assert expected in refused(run_file, override)


def test_a_mistake_shows_in_under_two_seconds_and_loads_no_engine(run_file: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from presets.errors import ConfigError; from presets.run_file import load_config\n"
        "try: load_config(Path(sys.argv[1]), ['rollout.turns=0'])\n"
        "except ConfigError: print(sorted({'torch', 'ray', 'vllm', 'diffusers', 'transformers'} & set(sys.modules)))\n"
        "print(time.process_time())"  # a busy machine adds to any other clock
    )
    process = subprocess.run(
        [sys.executable, "-c", code, str(run_file)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    loaded, seconds = process.stdout.splitlines()
    assert loaded == "[]", process.stderr
    assert float(seconds) < 2.0


def test_exponents_are_numbers_as_in_yaml_1_2(run_file: Path) -> None:
    run_file.write_text(run_file.read_text() + "learner: {actor: {learning_rate: 1e-5}}\n")
    assert load_config(run_file).learner.actor.learning_rate == 1e-5
    assert yaml.safe_load(dump_config(load_config(run_file)))["learner"]["actor"]["learning_rate"] == 1e-5


def test_a_transport_that_is_chosen_reaches_the_engine(run_file: Path) -> None:
    plain = load_config(run_file).vlm.actor.engine_arguments["weight_transfer_config"]
    config = load_config(run_file, ["sync.actor=ipc", "vlm.actor.gpus=1", "sync.editor=gloo"])
    assert plain == {"backend": "object_store"}
    assert config.vlm.actor.engine_arguments["weight_transfer_config"] == {"backend": "proven_ipc"}
    assert config.vlm.checker.engine_arguments["weight_transfer_config"] == {"backend": "object_store"}
    assert config.sync.editor == "gloo"


def test_memory_of_one_gpu_a_replica_is_shared(run_file: Path) -> None:
    message = refused(run_file, "sync.actor=ipc", "vlm.actor.gpus=2")
    assert "sync.actor: 'ipc' is refused with vlm.actor.gpus 2: it shares memory of one GPU a replica" in message


def test_alternate_switches_policies_and_begins_with_the_actor(run_file: Path) -> None:
    stages = "stages=[{stage: alternate, updates: 5, switch_every: 2}, {stage: editor, updates: 1}]"
    config = load_config(run_file, [stages])
    assert list(config.schedule) == ["actor", "actor", "editor", "editor", "actor", "editor"]
    assert config.trained == {"actor", "editor"}
    assert config.total_updates == 6
