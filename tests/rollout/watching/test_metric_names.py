import re

from rollout.watching.metric_names import METRICS, RUN_TAG


def test_names_are_those_that_ray_and_prometheus_accept():
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names) == 22
    for metric in METRICS:
        assert re.fullmatch(r"rlrig_[a-z_]+[a-z]", metric.name)
        assert metric.series == "ray_" + metric.name


def test_a_counter_is_called_total_and_a_gauge_is_not():
    # Prometheus's own convention, which its exporters enforce by adding the suffix where it is missing.
    assert {metric.name.endswith("_total") for metric in METRICS if metric.kind == "counter"} == {True}
    assert {metric.name.endswith("_total") for metric in METRICS if metric.kind == "gauge"} == {False}


def test_a_name_with_a_unit_in_it_has_that_unit():
    units = {metric.name: metric.unit for metric in METRICS}
    assert {name: units[name] for name in units if name.endswith("_seconds")} == {
        "rlrig_phase_seconds": "s",
        "rlrig_sync_seconds": "s",
    }
    assert [name for name in units if name.endswith("_bytes")] == [name for name in units if units[name] == "B"]
    assert all(units.values())


def test_every_series_says_which_run_and_what_it_is():
    for metric in METRICS:
        assert metric.tags[0] == RUN_TAG
        assert len(set(metric.tags)) == len(metric.tags)
        assert metric.description.endswith(".")
    tags = {metric.name: metric.tags[1:] for metric in METRICS if len(metric.tags) > 1}
    assert tags == {
        "rlrig_workers": ("role",),
        "rlrig_workers_wanted": ("role",),
        "rlrig_phase": ("role", "phase"),
        "rlrig_phase_seconds": ("phase",),
        "rlrig_gpu_memory_bytes": ("role",),
    }
