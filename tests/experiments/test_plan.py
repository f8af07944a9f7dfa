from __future__ import annotations

from itertools import pairwise

from experiments.plan import FAST, FULL
from presets.run_file import load_config
from tests.places import PRESET


def test_every_job_is_a_configuration_that_can_run() -> None:
    for job in FULL.jobs() + FAST.jobs():
        config = load_config(PRESET, list(job.overrides))
        assert config.seed == job.seed
        assert config.evaluation.prompts == 0


def test_every_arm_gets_the_same_number_of_updates_of_each_policy() -> None:
    for plan in (FULL, FAST):
        schedules = {job.name: load_config(PRESET, list(job.overrides)).schedule for job in plan.arm_jobs()}
        for name in ("stages", "alternating"):
            assert schedules[name].count("actor") == plan.actor_updates
            assert schedules[name].count("editor") == plan.editor_updates
        assert list(schedules["editor"]) == ["editor"] * plan.editor_updates
        assert list(schedules["stages"]) == ["actor"] * plan.actor_updates + ["editor"] * plan.editor_updates
        switches = sum(a != b for a, b in pairwise(schedules["alternating"]))
        assert switches == 2 * plan.rounds - 1


def test_jobs_have_names_of_their_own_and_the_first_seed_comes_first() -> None:
    folders = [job.folder for job in FULL.jobs()]
    assert len(set(folders)) == len(folders)
    assert [job.seed for job in FULL.jobs()][:9] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert all(" " not in folder for folder in folders)


def test_each_run_of_a_sweep_changes_one_setting_of_a_shared_one() -> None:
    jobs = {job.name: job for job in FULL.sweep_jobs()}
    assert list(jobs)[:2] == ["sweep-actor", "sweep-editor"]
    used = set()
    for sweep in FULL.sweeps:
        assert sum(not s.overrides and s.turns is None for s in sweep.settings) == 1
        if sweep.policy == "both":
            assert {sweep.job(s) for s in sweep.settings} == {"stages"}
            continue
        base = load_config(PRESET, list(jobs[f"sweep-{sweep.policy}"].overrides))
        updates = {"actor": FULL.sweep_actor_updates, "editor": FULL.sweep_editor_updates}[sweep.policy]
        assert list(base.schedule) == [sweep.policy] * updates
        for setting in sweep.settings:
            job = jobs[sweep.job(setting)]
            used.add(job.name)
            config = load_config(PRESET, list(job.overrides))
            assert (config == base) == (not setting.overrides)
            assert list(config.schedule) == list(base.schedule)
            assert load_config(PRESET, [o for o in job.overrides if o not in setting.overrides]) == base
    assert used == set(jobs)
