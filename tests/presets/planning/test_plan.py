from types import SimpleNamespace

import pytest

from presets.checks import cpu_demand
from presets.planning.plan import Plan, Role, make_plan
from presets.planning.trial_bundles import trial_bundles
from presets.run_file import load_config
from tests.places import PRESET

GPUS = [
    "ray.address=auto",
    "diffuser.gpus=1",
    "editor.gpus=1",
    "vlm.actor.gpus=2",
    "vlm.actor.replicas=3",
    "vlm.checker.gpus=1",
    "sync.actor=nccl",
]


def roles(overrides: list[str]) -> dict[str, Role]:
    return {role.name: role for role in make_plan(load_config(PRESET, overrides), memory=False).roles}


def test_the_tiny_preset_asks_for_what_its_configuration_says():
    found = roles([])
    assert {name: (role.count, role.total("CPU"), role.total("GPU")) for name, role in found.items()} == {
        "driver": (1, 0.0, 0.0),
        "EnvRunner": (1, 0.1, 0.0),
        "Diffuser": (2, 2.0, 0.0),
        "Inverse Diffuser": (2, 2.0, 0.0),
        "VLM Actor": (1, 0.1, 0.0),
        "VLM Checker": (1, 0.1, 0.0),
        "learner rank (actor)": (1, 1.0, 0.0),
        "learner rank (editor)": (2, 2.0, 0.0),
    }
    assert [role.name for role in found.values() if role.bundles] == ["VLM Actor", "VLM Checker"]


LORA = "learner.editor.lora={rank: 4, alpha: 8.0, target_modules: [to_q]}"
EDITOR_STAGE = "stages=[{stage: editor, updates: 1}]"


def test_an_editor_that_is_its_learners_rank_is_one_process_with_one_copy_of_the_model():
    config = load_config(PRESET, ["editor.colocated=true", LORA])
    plan = make_plan(config)
    by_name = {role.name: role for role in plan.roles}
    assert "learner rank (editor)" not in by_name
    both = by_name["Inverse Diffuser and learner rank (editor)"]
    assert (both.count, both.total("CPU")) == (2, 2.0)
    assert set(plan.moments) == {"actor", "editor"}
    assert all(both in there for there in plan.moments.values())
    assert plan.total("CPU") == pytest.approx(sum(cpu_demand(config).values())) == pytest.approx(5.3)
    apart = {role.name: role.estimate for role in make_plan(load_config(PRESET, [LORA])).roles}
    worker, rank = apart["Inverse Diffuser"], apart["learner rank (editor)"]
    assert both.estimate.kept == rank.kept < worker.kept + rank.kept
    assert both.estimate.known == max(rank.known, rank.kept + worker.parts()["activations"])
    alone = make_plan(load_config(PRESET, ["editor.colocated=true", LORA, EDITOR_STAGE]), memory=False)
    assert list(alone.moments) == ["editor"]
    assert alone.total("CPU") == pytest.approx(4.3)


@pytest.mark.parametrize("stages", [[], [EDITOR_STAGE]])
def test_a_trial_sets_aside_what_the_plan_counts(stages):
    config = load_config(PRESET, ["editor.colocated=true", LORA, *stages])
    settings = SimpleNamespace(num_cpus_for_main_process=0, placement_strategy="PACK")
    bundles = trial_bundles(settings, config).bundles
    served = sum(role.total("CPU") for role in make_plan(config, memory=False).roles if role.bundles)
    assert sum(bundle.get("CPU", 0) for bundle in bundles) == pytest.approx(
        make_plan(config, memory=False).total("CPU") - served
    )


def test_of_the_learners_one_is_there_at_a_time():
    plan = make_plan(load_config(PRESET), memory=False)
    names = {policy: {role.name for role in there} for policy, there in plan.moments.items()}
    assert names["actor"] ^ names["editor"] == {"learner rank (actor)", "learner rank (editor)"}
    assert plan.total("CPU") == pytest.approx(0.1 + 2 + 2 + 0.1 + 0.1 + 2)
    assert list(make_plan(load_config(PRESET, ["stages=[{stage: editor, updates: 1}]"]), memory=False).moments) == [
        "editor"
    ]


@pytest.mark.parametrize("overrides", [[], ["editor.workers=4", "learner.editor.cpus_per_rank=0.5"], GPUS])
def test_the_total_is_that_which_a_local_start_is_checked_by(overrides):
    config = load_config(PRESET, overrides)
    assert make_plan(config, memory=False).total("CPU") == pytest.approx(sum(cpu_demand(config).values()))


def test_a_replica_with_gpus_is_a_placement_group_with_a_bundle_for_each():
    actor = roles(GPUS)["VLM Actor"]
    assert (actor.count, actor.bundles, actor.bundle, actor.gpus) == (3, 2, {"CPU": 0.1, "GPU": 1.0}, 2)
    assert (actor.demand.bundles, actor.total("GPU")) == (2, 6)
    assert roles(GPUS)["Diffuser"].bundle == {"CPU": 1.0, "GPU": 1.0}


def test_a_sender_is_there_where_weights_are_pushed_and_holds_a_gpu_only_with_nccl():
    assert roles(GPUS)["weight sender (actor)"].bundle == {"GPU": 0.1}
    assert roles(["sync.editor=gloo"])["weight sender (editor)"].bundle == {}
    assert not [name for name in roles([]) if name.startswith("weight sender")]


def test_labels_follow_from_the_placement():
    strict = roles(["placement.nodes=strict"])
    labels = {name: role.required.get("rlrig-role") for name, role in strict.items()}
    assert labels == {
        "driver": None,
        "EnvRunner": None,
        "Diffuser": "image",
        "Inverse Diffuser": "image",
        "VLM Actor": "vlm",
        "VLM Checker": "vlm",
        "learner rank (actor)": "learner",
        "learner rank (editor)": "learner",
    }
    preferred = roles(["placement.nodes=preferred"])
    assert not any(role.required for role in preferred.values())
    assert preferred["Diffuser"].preferred == {"rlrig-role": "image"}
    assert preferred["VLM Actor"].preferred == {}


def test_memory_is_estimated_for_what_holds_a_model():
    plan: Plan = make_plan(load_config(PRESET))
    assert {role.name for role in plan.roles if role.estimate is None} == {"driver", "EnvRunner"}
    assert plan.unknown == {}
    unknown = make_plan(load_config(PRESET, ["models.editor=hf://nobody/has-this-one"])).unknown
    assert set(unknown) == {"Inverse Diffuser", "learner rank (editor)"}


def test_a_fleet_that_may_grow_is_planned_with_its_least_and_says_its_most():
    overrides = ["ray.address=auto", "editor.workers=1", "editor.max_workers=6", "vlm.actor.max_replicas=2"]
    plan = make_plan(load_config(PRESET, [*overrides, "rollout.max_env_runners=3"]), memory=False)
    numbers = {role.name: role.numbers for role in plan.roles}
    assert {name: numbers[name] for name in ("EnvRunner", "Diffuser", "Inverse Diffuser", "VLM Actor")} == {
        "EnvRunner": "1–3",
        "Diffuser": "2",
        "Inverse Diffuser": "1–6",
        "VLM Actor": "1–2",
    }
    assert plan.full_grown.total("CPU") == pytest.approx(plan.total("CPU") + 2 * 0.1 + 5 * 1.0 + 0.1)
    assert make_plan(load_config(PRESET), memory=False).full_grown.total("CPU") == pytest.approx(6.3)


def test_scorers_in_fleets_are_ray_actors_of_the_plan():
    found = roles(["rewards=[{scorer: checker}, {scorer: 'a:b', fleet: {workers: 2, cpus: 0.5, gpus: 0.25}}]"])
    role = found["scorer (b)"]
    assert (role.count, role.total("CPU"), role.total("GPU"), role.runs_as) == (2, 1.0, 0.5, "Ray actor")
    assert "rewards.1.fleet.gpus" in role.keys
