import re
import shlex
import tomllib
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray._private.label_utils import validate_node_labels
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.scripts.scripts import start

from rlrig.cluster.nodes import GPU_LABEL
from tests.places import ROOT
from tests.rooms import ROOMS

ROLES = {"image", "vlm", "learner"}


def cluster_file() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))


def workers() -> dict[str, dict[str, Any]]:
    file = cluster_file()
    return {name: kind for name, kind in file["available_node_types"].items() if name != file["head_node_type"]}


def start_options(command: str) -> dict[str, Any]:
    """What `ray start` understands of a start command; raises where it knows an option not."""
    words = shlex.split(command.split("ray start", 1)[1])
    return start.make_context("start", words).params


def test_ray_accepts_the_file():
    validate_config(prepare_config(cluster_file()))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("idle_timout_minutes",), 5),
        (("available_node_types", "vlm", "label"), {"rlrig-role": "vlm"}),
        (("available_node_types", "image", "resources", "GPU"), 0.5),
        (("provider", "security_group", "Ports"), [22]),
    ],
)
def test_ray_refuses_what_it_does_not_know(path, value):
    file = cluster_file()
    place = file
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepare_config(file))


def test_each_role_is_a_label_that_the_autoscaler_knows():
    config = AutoscalingConfig(deepcopy(cluster_file()), skip_content_hash=True)
    assert set(workers()) == ROLES
    for name, kind in workers().items():
        validate_node_labels(kind["labels"])
        assert config.get_node_labels(name) == {"rlrig-role": name, GPU_LABEL: "44"}  # an L40S has 48 GB
        assert config.get_node_resources(name)["GPU"] >= 1
        assert config.get_node_type_configs()[name].idle_timeout_s >= 600


def test_the_cluster_can_be_as_large_as_its_roles_and_costs_nothing_idle():
    assert cluster_file()["max_workers"] == sum(kind["max_workers"] for kind in workers().values())
    for kind in workers().values():
        assert kind["min_workers"] == 0
        assert kind["max_workers"] >= 2
    assert "InstanceMarketOptions" not in workers()["learner"]["node_config"]  # losing it costs updates


def test_every_node_is_made_from_one_image_with_a_sealed_disk():
    for kind in cluster_file()["available_node_types"].values():
        node = kind["node_config"]
        assert node["ImageId"] == cluster_file()["metadata"]["image"]  # one Python version on all nodes
        assert node["MetadataOptions"]["HttpTokens"] == "required"
        assert all(disk["Ebs"]["Encrypted"] for disk in node["BlockDeviceMappings"])


def test_no_port_but_ssh_is_open_and_every_request_needs_the_token():
    file = cluster_file()
    assert set(file["provider"]["security_group"]) == {"GroupName"}  # Ray's own rules: SSH, and the group itself
    (head,) = [command for command in file["head_start_ray_commands"] if "ray start" in command]
    (worker,) = [command for command in file["worker_start_ray_commands"] if "ray start" in command]
    for command in (head, worker):
        assert re.search(r"export [^;]*\bRAY_AUTH_MODE=token\b", command.split("ray start")[0])
    assert file["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    options = start_options(head)
    assert options["head"]
    assert options["dashboard_host"] == "127.0.0.1"
    assert options["autoscaling_config"].endswith("ray_bootstrap_config.yaml")
    assert options["metrics_export_port"] == start_options(worker)["metrics_export_port"] == 8080
    assert start_options(worker)["address"] == f"$RAY_HEAD_IP:{options['port']}"


def test_everything_that_a_node_imports_and_runs_is_mounted():
    mounts = cluster_file()["file_mounts"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {*ROOMS, "deploy", "requirements", "pyproject.toml", project["project"]["readme"]}
    assert {local for remote, local in mounts.items() if remote.startswith("~/rl-rig/")} == needed
    for remote, local in mounts.items():
        if remote.startswith("~/rl-rig/"):
            assert remote == f"~/rl-rig/{local}"
            assert (ROOT / local).exists()


def test_setup_runs_scripts_and_lock_files_that_are_mounted():
    file = cluster_file()
    commands = [*file["setup_commands"], *file["head_setup_commands"], *file["worker_setup_commands"]]
    used = [Path(path) for command in commands for path in re.findall(r"~/rl-rig/(\S+)", command)]
    assert Path("deploy/setup_node.sh") in used
    assert Path("requirements/aws.lock") in used
    for path in used:
        assert (ROOT / path).is_file()
        assert path.suffix != ".sh" or (ROOT / path).stat().st_mode & 0o100
    _, lock, results = next(command.split() for command in commands if "setup_node.sh" in command)
    assert lock == "gpu"
    assert "CHANGE-ME" in results  # setup_node.sh refuses it, so that no run is written to a disk that goes away
