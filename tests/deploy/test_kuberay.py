import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml
from ray.serve.schema import ServeDeploySchema

from presets.run_file import load_config
from tests.deploy.crd_schema import closed, strict_schemas
from tests.places import ROOT

FOLDER = ROOT / "deploy" / "kuberay"
KINDS = {"raycluster.yaml": "RayCluster", "rayjob.yaml": "RayJob", "rayservice.yaml": "RayService"}
UNITS = {"m": 1e-3, "Mi": 2**20, "Gi": 2**30}
SLOW_LOAD_S = 300


def manifest(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def cluster_of(name: str) -> dict[str, Any]:
    spec = manifest(name)["spec"]
    return spec.get("rayClusterSpec") or spec.get("rayClusterConfig") or spec


def groups(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    cluster = cluster_of(name)
    yield "head", cluster["headGroupSpec"]
    for group in cluster["workerGroupSpecs"]:
        yield group["groupName"], group


def every_pod() -> list[Any]:
    pods = [(f"{name}:{group}", spec["template"]) for name in KINDS for group, spec in groups(name)]
    return [*pods, ("rayjob.yaml:submit", manifest("rayjob.yaml")["spec"]["submitterPodTemplate"])]


def nodes() -> list[Any]:
    return [pod for pod in every_pod() if not pod[0].endswith("submit")]


def seconds(probe: dict[str, Any]) -> int:
    return probe["periodSeconds"] * probe["failureThreshold"]


def amount(quantity: str) -> float:
    unit = next((unit for unit in UNITS if quantity.endswith(unit)), "")
    return float(quantity.removesuffix(unit)) * UNITS.get(unit, 1)


@pytest.fixture(scope="module")
def crds() -> dict[str, Any]:
    """The schemas of KubeRay's CRDs, which are not part of this repository."""
    if "KUBERAY_CRDS" not in os.environ:
        pytest.skip("KUBERAY_CRDS names no folder; helm show crds kuberay/kuberay-operator > FOLDER/crds.yaml")
    return strict_schemas(Path(os.environ["KUBERAY_CRDS"]))


@pytest.mark.parametrize("name", KINDS)
def test_the_crd_accepts_the_manifest(name, crds):
    document, validator = manifest(name), jsonschema.Draft202012Validator(crds[f"ray.io/v1/{KINDS[name]}"])
    assert [error.message for error in validator.iter_errors(document)] == []
    document["spec"]["workerGroupSpec"] = []
    assert any("workerGroupSpec" in error.message for error in validator.iter_errors(document))


def test_a_closed_schema_refuses_unknown_fields_and_keeps_open_ones():
    schema = {
        "type": "object",
        "properties": {
            "properties": {"type": "object", "properties": {"a": {"type": "integer"}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "many": {"type": "array", "items": {"type": "object", "properties": {"b": {}}}},
        },
    }
    strict = closed(schema)
    good = {"properties": {"a": 1}, "free": {"x": 1}, "labels": {"x": "y"}, "many": [{"b": 1}]}
    jsonschema.validate(good, strict)
    for bad in ({"other": 1}, {"properties": {"b": 1}}, {"labels": {"x": 1}}, {"many": [{"c": 1}]}):
        jsonschema.validate(bad, schema) if "labels" not in bad else None
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, strict)


@pytest.mark.parametrize("name", KINDS)
def test_what_the_operator_asks_beyond_the_schema(name):
    document, cluster = manifest(name), cluster_of(name)
    assert (document["apiVersion"], document["kind"]) == ("ray.io/v1", KINDS[name])
    assert len(document["metadata"]["name"]) <= 47  # the names of a cluster and of its parts are made from it
    assert cluster["rayVersion"] == ray.__version__
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["autoscalerOptions"]["version"] == "v2"  # what allows an idle timeout for each group
    for group, spec in groups(name):
        assert spec["labels"] == {"rlrig-role": group}
        assert "labels" not in spec["rayStartParams"]
        assert "restartPolicy" not in spec["template"]["spec"]
        if group != "head":
            assert 0 <= spec["minReplicas"] <= spec["replicas"] <= spec["maxReplicas"]
            assert spec["idleTimeoutSeconds"] >= 600


def test_roles_are_those_of_the_cluster_file():
    file = yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))["available_node_types"]
    for group, spec in groups("raycluster.yaml"):
        assert spec["labels"].items() <= file[group]["labels"].items()  # who knows which GPUs a pool has
        if group != "head":
            assert spec["maxReplicas"] == file[group]["max_workers"]
            assert spec["idleTimeoutSeconds"] == file[group]["idle_timeout_s"]
            limits = spec["template"]["spec"]["containers"][0]["resources"]["limits"]
            assert int(limits["nvidia.com/gpu"]) == file[group]["resources"]["GPU"]
            assert int(limits["cpu"]) == file[group]["resources"]["CPU"]


def test_a_run_brings_the_cluster_that_stands_alone():
    assert manifest("rayjob.yaml")["spec"]["rayClusterSpec"] == manifest("raycluster.yaml")["spec"]


@pytest.mark.parametrize(("name", "pod"), nodes(), ids=[name for name, _ in nodes()])
def test_probes_wait_for_slow_model_loads(name, pod):
    container = pod["spec"]["containers"][0]
    startup, liveness, readiness = (container[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness"))
    assert seconds(startup) >= SLOW_LOAD_S
    assert seconds(liveness) >= 120
    assert seconds(readiness) < seconds(liveness)  # a busy node loses its traffic before it loses its life
    # What decides over life is the node's agent, which answers while a model loads; not what the models do.
    agent = {"path": "/api/healthz", "port": 52365}
    assert startup["httpGet"] == liveness["httpGet"] == agent
    serves = name == "rayservice.yaml:vlm"
    assert readiness["httpGet"] == ({"path": "/-/healthz", "port": 8000} if serves else agent)
    assert min(probe["timeoutSeconds"] for probe in (startup, liveness, readiness)) >= 5


@pytest.mark.parametrize(("name", "pod"), every_pod(), ids=[name for name, _ in every_pod()])
def test_pods_are_small_in_rights_and_sound_in_themselves(name, pod):
    spec = pod["spec"]
    assert pod["metadata"]["labels"] == {"app.kubernetes.io/part-of": "rlrig"}
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] == 1000  # the image's user
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    for container in spec["containers"]:
        assert container["image"] == "rlrig:gpu"  # the one word that is replaced by the registry's
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert {mount["name"] for mount in container.get("volumeMounts", [])} == volumes
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        assert set(requests) == set(limits) >= {"cpu", "memory"}
        assert all(amount(requests[what]) <= amount(limits[what]) for what in limits)
        ports = [port["name"] for port in container.get("ports", [])]
        assert len(set(ports)) == len(ports)
        assert all(len(port) <= 15 for port in ports)


def test_results_are_one_claim_that_every_node_mounts():
    claim = manifest("results.yaml")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for name, pod in nodes():
        claims = [volume["persistentVolumeClaim"]["claimName"] for volume in pod["spec"]["volumes"]]
        assert claims == [claim["metadata"]["name"]], name


def test_the_job_runs_a_preset_that_exists_with_settings_that_load():
    spec = manifest("rayjob.yaml")["spec"]
    script, out, preset, *options = spec["entrypoint"].split()
    local = {path: ROOT / Path(path).relative_to("/opt/rl-rig") for path in (script, preset)}
    assert local[script].stat().st_mode & 0o100
    assert out.startswith("/results/")
    config = load_config(local[preset], options[1::2])
    assert set(options[::2]) == {"--set"}
    assert config.ray.address == "auto"
    assert (config.vlm.actor.gpus, config.vlm.checker.gpus) == (1, 1)
    assert spec["shutdownAfterJobFinishes"]
    assert spec["backoffLimit"] >= 1
    assert 0 < spec["preRunningDeadlineSeconds"] < spec["activeDeadlineSeconds"]


def test_serve_accepts_the_service():
    spec = manifest("rayservice.yaml")["spec"]
    config = ServeDeploySchema.model_validate(yaml.safe_load(spec["serveConfigV2"]))
    (application,) = config.applications
    (model,) = application.args["llm_configs"]
    assert application.import_path == "ray.serve.llm:build_openai_app"
    assert model["model_loading_config"]["model_source"].startswith("/results/")
    scaling = model["deployment_config"]["autoscaling_config"]
    (group,) = [spec for name, spec in groups("rayservice.yaml") if name == "vlm"]
    gpus = int(group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"])
    needed = sum(bundle["GPU"] for bundle in model["placement_group_config"]["bundles"])
    assert needed * scaling["max_replicas"] <= gpus * group["maxReplicas"]
    assert needed * scaling["min_replicas"] <= gpus * group["minReplicas"]


def test_only_named_pods_reach_the_cluster():
    policies = list(yaml.safe_load_all((FOLDER / "network-policy.yaml").read_text(encoding="utf-8")))
    monitor = manifest("pod-monitor.yaml")
    selected = {"matchLabels": {"app.kubernetes.io/part-of": "rlrig"}}
    for policy in policies:
        assert policy["spec"]["podSelector"] == selected
        assert policy["spec"]["policyTypes"] == ["Ingress"]
        for rule in policy["spec"]["ingress"]:
            assert rule["from"], "a rule without `from` lets everybody in"
            assert rule["from"] == [{"podSelector": selected}] or rule["ports"]
    assert monitor["spec"]["selector"] == selected
    opened = {port["port"] for p in policies for rule in p["spec"]["ingress"] for port in rule.get("ports", [])}
    head = dict(groups("rayservice.yaml"))["head"]["template"]["spec"]["containers"][0]["ports"]
    named = {port["name"]: port["containerPort"] for port in head}
    scraped = {named[endpoint["port"]] for endpoint in monitor["spec"]["podMetricsEndpoints"]}
    assert scraped == {8080, 44217, 44227}
    assert scraped | {8265, 8000, 52365} == opened
    assert 6379 not in opened  # the control store, for the cluster's own pods alone


def test_the_image_has_the_ray_that_the_operator_is_told_of():
    for lock in ("cpu", "gpu"):
        packages = (ROOT / "requirements" / f"{lock}.lock").read_text(encoding="utf-8")
        assert f"\nray=={cluster_of('raycluster.yaml')['rayVersion']}\n" in packages
