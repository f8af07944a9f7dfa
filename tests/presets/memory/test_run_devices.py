"""What a run holds by device, and what is refused with which setting."""

from __future__ import annotations

import pytest

from presets.errors import BadInput
from presets.memory.devices import CONTEXT_GIB, in_short
from presets.memory.image_models import image_worker
from presets.memory.run_devices import check_memory, run_devices, too_large
from presets.memory.sizes import Sizes
from presets.memory.switches import switches_of
from presets.memory.vlms import vlm_replica
from presets.run_config import RunConfig
from presets.run_file import load_config
from presets.settings import NeedsConfig
from tests.places import PRESET, ROOT

SIZES = Sizes(ask_hub=False)
DATA = f"data.path={ROOT / 'tests' / 'data' / 'laion_sg_example.json'}"


def preset(name: str, *changes: str) -> RunConfig:
    return load_config(ROOT / "presets" / f"{name}.yaml", [DATA, *changes])


def refused(config: RunConfig, gib: float) -> dict[str, str]:
    return {line.partition(":")[0]: line for line in too_large(config, SIZES, gib)}


@pytest.mark.parametrize(
    ("name", "gib", "counts"),
    [
        (
            "cluster",
            80,
            {"diffuser": 2, "editor": 6, "actor": 1, "checker": 2, "learner.actor": 4, "learner.editor": 6},
        ),
        ("eight-gpus", 80, {"diffuser + checker": 1, "actor + learner.actor": 1, "editor + learner.editor": 6}),
        ("qwen-image-edit", 80, {"diffuser + checker": 1, "actor + learner.actor": 1, "editor + learner.editor": 6}),
        ("one-gpu", 48, {"editor + actor + learner.actor + learner.editor": 1}),
    ],
)
def test_the_presets_fit_on_the_gpus_that_they_are_for(name, gib, counts):
    config = preset(name)
    assert config.needs.gpu_gib == gib
    devices = run_devices(config, SIZES, gib)
    assert all(device.complete for device in devices)
    assert {device.name: device.count for device in devices} == counts
    assert refused(config, gib) == {}


@pytest.mark.parametrize("name", ["cluster", "eight-gpus", "qwen-image-edit", "one-gpu"])
def test_a_presets_head_says_what_the_plan_says(name):
    head = (ROOT / "presets" / f"{name}.yaml").read_text().partition("\nseed:")[0]
    told = " ".join(line.removeprefix("#").strip() for line in head.splitlines())
    config = preset(name)
    devices = run_devices(config, SIZES)
    for device in devices:
        assert in_short(device) in told
    for switch in switches_of(config, devices):
        assert str(switch) in told


ACTORS = "vlm.actor.offload=none"
COLOCATED = (
    "editor.colocated=true",
    "editor.offload=none",
    "learner.editor.offload=none",
    "learner.editor.ema=0",
)


def test_one_process_that_samples_and_trains_has_the_model_once():
    apart = preset("eight-gpus", "editor.offload=none", "learner.editor.offload=none")
    both = preset("eight-gpus", *COLOCATED, "placement.share=[[diffuser, checker]]", "editor.gpus=1", ACTORS)
    two = next(it for it in run_devices(apart, SIZES) if it.name == "editor + learner.editor")
    one = next(it for it in run_devices(both, SIZES) if it.name == "editor")
    assert [(resident.role, resident.processes) for resident in one.holds] == [("editor", 1)]
    assert (one.count, two.count) == (6, 6)
    model = image_worker(both, "editor", SIZES).kept
    assert {peak.phase for peak in one.peaks} == {"rollout", "update"}
    for alone, together in zip(one.peaks, two.peaks, strict=True):
        assert alone.asleep == together.asleep == 0
        assert together.nbytes - alone.nbytes > 0.99 * model  # and a context of CUDA


def test_in_the_update_of_another_policy_it_is_idle():
    shared = preset("one-gpu", *COLOCATED, "placement.share=[[editor, actor, learner.actor]]")
    (device,) = run_devices(shared, SIZES)
    peaks = {(peak.phase, peak.policy): peak for peak in device.peaks}
    assert "editor, idle" in peaks["update", "actor"].how
    assert "editor, idle" not in peaks["update", "editor"].how
    assert "learner.actor" not in peaks["update", "editor"].how


@pytest.mark.parametrize(
    ("changes", "gib", "setting"),
    [
        (["editor.text_offload=none"], 36.0, "editor.text_offload=cpu"),
        (
            ["learner.editor.gradient_checkpointing=false", "learner.editor.micro_batch=16"],
            40.0,
            "learner.editor.micro_batch=1",
        ),
    ],
)
def test_a_refusal_of_such_a_process_names_a_setting_that_it_can_have(changes, gib, setting):
    layout = ("placement.share=[[diffuser, checker]]", "editor.gpus=1", ACTORS)
    line = refused(preset("eight-gpus", *COLOCATED, *layout, *changes), gib)["editor"]
    assert line.rpartition(". Set ")[2].startswith(setting)
    assert refused(preset("eight-gpus", *COLOCATED, *layout, *changes, setting), gib).get("editor") is None


def test_roles_that_do_not_leave_their_gpu_do_not_fit_and_turns_are_the_way_out():
    stays = preset("one-gpu", "editor.offload=none", "vlm.actor.offload=none")
    line = refused(stays, 40.0)["editor + actor + learner.actor + learner.editor"]
    assert said(line)[0].startswith("editor.offload=cpu")
    assert refused(preset("one-gpu"), 40.0) == {}


def test_a_gpu_that_is_too_small_is_refused_with_the_settings_that_make_it_fit():
    config = preset("cluster")
    line = refused(config, 48.0)["learner.actor"]
    assert "70.0 GiB in the update are more than a GPU's 48 GiB (learner.actor activations 8.19 k tokens × 28" in line
    assert line.endswith(
        "Set learner.actor.gradient_checkpointing=true (27.8 GiB), or learner.actor.micro_batch=2 (44.0 GiB)"
    )
    fits = preset("cluster", "learner.actor.gradient_checkpointing=true")
    assert refused(fits, 48.0) == {}


def said(line: str) -> list[str]:
    """The settings of a refusal that fit only together, as overrides."""
    return line.rpartition(". Set ")[2].rpartition(" (")[0].split(", ")


def test_settings_that_fit_only_together_are_told_together_and_do_fit():
    config = preset("cluster")
    line = refused(config, 24.0)["learner.actor"]
    assert said(line) == ["learner.actor.gradient_checkpointing=true", "learner.actor.micro_batch=2"]
    assert "learner.actor" not in refused(preset("cluster", *said(line)), 24.0)


@pytest.mark.parametrize(
    ("changes", "gib", "role", "setting"),
    [
        (["vlm.actor.kv_cache_gib=64"], 70.0, "actor", "vlm.actor.kv_cache_gib=32.0"),
        (["models.checker=hf://Qwen/Qwen2.5-VL-32B-Instruct"], 80.0, "checker", "vlm.checker.gpus=2"),
        (["editor.dtype=float32"], 50.0, "editor", "editor.dtype=bfloat16"),
        (["learner.editor.lora=null", "learner.editor.zero_stage=2"], 64.0, "learner.editor",
         "learner.editor.zero_stage=3"),
        (["learner.editor.lora=null", "learner.editor.ranks=2"], 80.0, "learner.editor", "learner.editor.ranks=4"),
        (["learner.actor.lora=null", "learner.actor.gradient_checkpointing=true", "learner.actor.ranks=1"], 80.0,
         "learner.actor", "learner.actor.lora={target_modules: .*language_model"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_setting(changes, gib, role, setting):
    assert setting in refused(preset("cluster", *changes), gib)[role]


def test_settings_that_change_nothing_are_not_told():
    """FLUX.1 Kontext sees its source at the image's own size, and refuses `editor.source_size`."""
    line = refused(preset("cluster", "editor.dtype=float32", "diffuser.image_size=512"), 40.0)["editor"]
    assert said(line) == ["editor.dtype=bfloat16"]
    alone = (
        "placement.share=[]",
        "editor.gpus=1",
        "editor.source_size=null",
        "models.editor=hf://Qwen/Qwen-Image-Edit",
    )
    edits = preset("qwen-image-edit", "editor.dtype=float32", *alone)
    assert said(refused(edits, 54.6)["editor"]) == ["editor.dtype=bfloat16", "editor.source_size=512"]


def test_a_source_that_is_no_square_is_told_the_side_of_the_square_with_as_many_pixels():
    alone = (
        "placement.share=[]",
        "editor.gpus=1",
        "editor.source_size=null",
        "models.editor=hf://Qwen/Qwen-Image-Edit",
    )
    wide = preset("qwen-image-edit", "editor.dtype=float32", "diffuser.width=768", *alone)
    assert said(refused(wide, 54.5)["editor"]) == ["editor.dtype=bfloat16", "editor.source_size=624"]


def test_what_no_setting_makes_fit_says_so():
    line = refused(preset("cluster"), 16.0)["diffuser"]
    assert line.endswith("No setting makes it fit: take a smaller model, or GPUs with more memory (needs.gpu_gib)")


def test_rollouts_go_on_during_updates_only_with_stale_ones_allowed():
    def phases(*changes: str) -> set[str]:
        devices = run_devices(preset("cluster", *changes), SIZES, 80.0)
        return {peak.phase for device in devices if device.name == "editor" for peak in device.peaks}

    assert phases() == {"rollout", "update"}
    assert phases("rollout.max_staleness=0") == {"rollout"}


def test_roles_that_share_are_looked_at_together():
    devices = run_devices(preset("eight-gpus"), SIZES, 80.0)
    together = {device.name: device for device in devices}
    assert together["diffuser + checker"].peak.nbytes == pytest.approx(
        image_worker(preset("eight-gpus"), "diffuser", SIZES).known
        + vlm_replica(preset("eight-gpus").vlm.checker, SIZES).known
        + 2 * CONTEXT_GIB * 2**30
    )
    turns = {peak.phase: peak for peak in together["editor + learner.editor"].peaks}
    assert turns["rollout"].asleep > 20 * 2**30
    assert "learner" not in turns["rollout"].how


def test_a_run_is_refused_before_it_starts_where_the_gpus_memory_is_known(monkeypatch):
    monkeypatch.setattr("presets.memory.run_devices.Sizes", lambda: SIZES)
    config = preset("cluster")
    check_memory(config, lambda: 24.0)  # the run file says 80
    unsaid = config.model_copy(update={"needs": NeedsConfig()})
    check_memory(unsaid, lambda: None)
    with pytest.raises(BadInput, match=r"GPUs of 24 GiB could not hold this run:\n  diffuser: 39\.9 GiB in the roll"):
        check_memory(unsaid, lambda: 24.0)


def test_without_gpus_nothing_is_asked():
    def never() -> float:
        raise AssertionError("the GPUs' memory was asked for")

    check_memory(load_config(PRESET), never)
    assert run_devices(load_config(PRESET), SIZES, 1.0) == ()


def test_text_encoders_that_may_leave_are_told_where_that_makes_it_fit():
    needs = run_devices(preset("cluster"), SIZES, 80.0)
    worker = next(device for device in needs if device.name == "diffuser").peak.nbytes / 2**30
    line = refused(preset("cluster"), worker - 1)["diffuser"]
    assert said(line)[0].startswith("diffuser.text_offload=cpu")
    assert "diffuser" not in refused(preset("cluster", "diffuser.text_offload=cpu"), worker - 1)
