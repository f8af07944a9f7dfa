import json
import sys

import pytest
from typer.testing import CliRunner

from rlrig.cli import app
from tests.places import ROOT

PRESET = str(ROOT / "presets" / "tiny" / "run.yaml")
CLUSTER = str(ROOT / "cluster.yaml")
runner = CliRunner()


def test_plan_starts_nothing_and_prints_tables():
    result = runner.invoke(app, ["plan", PRESET])
    assert result.exit_code == 0, result.output
    assert "Inverse Diffuser" in result.output
    assert "The cluster must offer 6.3 CPU" in result.output
    assert "ray" not in sys.modules or not sys.modules["ray"].is_initialized()


def test_plan_prints_one_json_object():
    result = runner.invoke(app, ["plan", PRESET, "--json", "--set", "editor.workers=3"])
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    assert values["totals"]["CPU"] == pytest.approx(7.3)
    assert "fits" not in values


@pytest.mark.parametrize(("workers", "code", "fits"), [(2, 0, True), (3, 1, False)])
def test_plan_says_whether_a_cluster_file_leaves_room(workers, code, fits):
    """cluster.yaml has four nodes for image models, with a GPU each."""
    settings = ["placement.nodes=strict", "diffuser.gpus=1", "editor.gpus=1", f"editor.workers={workers}"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    result = runner.invoke(app, ["plan", PRESET, "--cluster", CLUSTER, "--json", *arguments])
    assert result.exit_code == code, result.output
    values = json.loads(result.stdout)
    assert values["fits"] is fits
    assert [line.split(":")[0] for line in values["missing"]] in ([], ["Inverse Diffuser"], ["Diffuser"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--set", "editor.workers=20"], "ray.num_cpus: 8 is refused"),
        (["--set", "placement.nodes=here"], "placement.nodes: 'here' is refused"),
        (["--cluster", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["--address", "ray://head:10001"], "write HOST:6379"),
    ],
)
def test_plan_refuses_bad_input_with_exit_2(arguments, expected):
    result = runner.invoke(app, ["plan", PRESET, *arguments])
    assert result.exit_code == 2
    assert expected in " ".join(result.stderr.split())


def test_a_cluster_is_planned_for_whatever_this_machine_has():
    result = runner.invoke(app, ["plan", PRESET, "--cluster", CLUSTER, "--set", "editor.workers=20"])
    assert result.exit_code == 0, result.output
    assert "the plan fits on the 11 nodes that its autoscaler may bring it to (0 nodes now)" in " ".join(
        result.output.split()
    )


LARGE = str(ROOT / "presets" / "cluster.yaml")
DATA = f"data.path={ROOT / 'tests' / 'data' / 'laion_sg_example.json'}"


def large(*arguments: str):
    return runner.invoke(app, ["plan", LARGE, "--set", DATA, *arguments])


def test_a_plan_of_hub_models_has_numbers_without_the_hub_and_says_where_from():
    result = large("--json")
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    assert values["unknown"] == {}
    assert set(values["sizes"]) == {
        "black-forest-labs/FLUX.1-dev", "black-forest-labs/FLUX.1-Kontext-dev", "Qwen/Qwen2.5-VL-7B-Instruct",
    }  # fmt: skip
    assert all("published configurations, as the hub cannot be reached" in it for it in values["sizes"].values())
    (device,) = [it for it in values["devices"] if it["roles"] == ["learner.editor"]]
    assert (device["count"], device["gib"], device["complete"]) == (6, 80.0, True)
    assert device["peaks"][0]["gib"] == pytest.approx(20.6, abs=0.1)


def test_a_run_that_cannot_fit_on_its_gpus_is_told_with_the_setting_and_exit_code_1():
    result = large("--gpu-gib", "48")
    text = " ".join(result.output.split())
    assert result.exit_code == 1, text
    assert "learner.actor: 70.0 GiB in the update are more than a GPU's 48 GiB" in text
    assert "Set learner.actor.gradient_checkpointing=true (27.8 GiB)" in text
    fits = large("--gpu-gib", "48", "--set", "learner.actor.gradient_checkpointing=true")
    assert fits.exit_code == 0, fits.output


def test_the_nodes_label_says_the_memory_where_the_run_file_does_not():
    given = ["--cluster", CLUSTER, "--set", "needs.gpu_gib=null", "--json"]
    values = json.loads(large(*given).stdout)
    assert {device["gib"] for device in values["devices"]} == {44.0}
    assert [line.partition(":")[0] for line in values["misfits"]] == ["learner.actor"]


def test_submit_refuses_what_cannot_fit_before_it_connects(tmp_path):
    arguments = ["submit", LARGE, "--working-dir", str(ROOT), "--address", "http://127.0.0.1:9"]
    result = runner.invoke(app, [*arguments, "--set", DATA, "--set", "needs.gpu_gib=16"])
    assert result.exit_code == 2, result.output
    assert "GPUs of 16 GiB could not hold this run" in result.stderr
