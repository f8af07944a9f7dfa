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
