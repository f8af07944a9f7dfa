from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from experiments.plan import FAST, FULL
from rollout.config_file import load_config

PRESET = Path(__file__).resolve().parents[2] / "presets" / "tiny" / "run.yaml"


def test_every_job_is_a_configuration_that_can_run() -> None:
    for job in FULL.jobs() + FAST.jobs():
        config = load_config(PRESET, list(job.overrides))
        assert config.seed == job.seed
        assert config.evaluation.prompts == 0


def test_every_arm_gets_the_same_number_of_updates_of_each_policy() -> None:
    for plan in (FULL, FAST):
        schedules = {job.name: load_config(PRESET, list(job.overrides)).schedule for job in plan.jobs()}
        for name in ("stages", "alternating"):
            assert schedules[name].count("actor") == plan.actor_updates
            assert schedules[name].count("editor") == plan.editor_updates
        assert schedules["editor"] == ["editor"] * plan.editor_updates
        assert schedules["stages"] == ["actor"] * plan.actor_updates + ["editor"] * plan.editor_updates
        switches = sum(a != b for a, b in pairwise(schedules["alternating"]))
        assert switches == 2 * plan.rounds - 1


def test_jobs_have_names_of_their_own_and_the_first_seed_comes_first() -> None:
    folders = [job.folder for job in FULL.jobs()]
    assert len(set(folders)) == len(folders)
    assert [job.seed for job in FULL.jobs()][:9] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert all(" " not in folder for folder in folders)


def test_a_sweep_trains_only_what_the_arms_do_not() -> None:
    for sweep in FULL.sweeps:
        assert sum(not s.overrides and s.turns is None for s in sweep.settings) == 1
        assert {sweep.job(s) for s in sweep.settings if not s.overrides} <= {"stages", "editor"}
        for setting in sweep.trained_settings:
            (job,) = [job for job in FULL.jobs() if job.name == sweep.job(setting)]
            config = load_config(PRESET, list(job.overrides))
            assert config.trained == {sweep.policy}
            assert config != load_config(PRESET, [o for o in job.overrides if o not in setting.overrides])
