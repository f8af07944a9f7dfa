import re
import shutil
import subprocess
from itertools import combinations

import pytest
import yaml
from ray._private.ray_constants import PROMETHEUS_SERVICE_DISCOVERY_FILE
from ray.dashboard.modules.metrics.dashboards.default_dashboard_panels import DEFAULT_GRAFANA_ROWS
from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

from rollout.watching.metric_names import METRICS, RUN_TAG
from tests.deploy.panels import Query, dashboard, panels, queries
from tests.places import ROOT

GRAFANA = ROOT / "deploy" / "grafana"


def rays_own() -> set[str]:
    """Series that Ray itself exports: what its node agents report, and what its own dashboard is drawn from."""
    targets = [target for row in DEFAULT_GRAFANA_ROWS for panel in row.panels for target in panel.targets]
    drawn = {name for target in targets for name in re.findall(r"ray_\w+", target.expr)}
    return drawn | {f"ray_{name}" for name in METRICS_GAUGES}


def test_names_are_found_in_queries():
    query = Query("", 'max by (run, role) (rate(ray_a{run=~"$run"}[1m])) * 60 / on() sum(ray_b_total) or vector(0)')
    assert query.series() == {"ray_a", "ray_b_total"}


def test_every_query_asks_for_series_that_exist():
    known = {metric.series for metric in METRICS} | rays_own()
    for query in queries():
        assert query.series(), f"{query.panel}: {query.text} names no series"
        assert query.series() <= known, f"{query.panel}: nobody exports {query.series() - known}"


def test_every_metric_of_a_run_is_in_a_panel():
    drawn = {name for query in queries() for name in query.series()}
    assert {metric.series for metric in METRICS} - drawn == set()


def test_queries_use_the_tags_that_the_series_have_and_counters_as_rates():
    for metric in METRICS:
        for query in [query for query in queries() if metric.series in query.series()]:
            assert f'{metric.series}{{{RUN_TAG}=~"$run"}}' in query.text, f"{query.panel}: other runs are mixed in"
            grouped = set(re.findall(r"\w+", re.search(r"by \(([^)]*)\)", query.text).group(1)))
            assert grouped == set(metric.tags), f"{query.panel}: by {grouped}, but the series has {metric.tags}"
            counted = re.search(r"\b(rate|increase)\(", query.text) is not None
            assert counted == (metric.kind == "counter"), f"{query.panel}: {query.text}"


def test_the_dashboard_can_be_imported_as_it_is():
    board = dashboard()
    assert board["uid"] == "rlrig"
    assert "id" not in board  # Grafana gives it; one that is set overwrites another dashboard
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert set(variables) == {"datasource", "run"}
    assert variables["run"]["query"]["query"] == "label_values(ray_rlrig_update, run)"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels():
        assert panel["description"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


def test_panels_do_not_lie_upon_each_other():
    places = [(panel["title"], panel["gridPos"]) for panel in dashboard()["panels"]]
    for title, place in places:
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24, title
    for (one, a), (other, b) in combinations(places, 2):
        apart_x = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        apart_y = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart_x or apart_y, f"{one} and {other}"


def test_prometheus_scrapes_the_targets_that_ray_writes():
    config = yaml.safe_load((GRAFANA / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = config["scrape_configs"]
    (source,) = job["file_sd_configs"]
    assert source["files"] == [f"/tmp/ray/{PROMETHEUS_SERVICE_DISCOVERY_FILE}"]
    interval, timeout = (int(config["global"][key].rstrip("s")) for key in ("scrape_interval", "scrape_timeout"))
    assert timeout < interval <= 15  # Grafana's rates need four samples a minute


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_accepts_the_configuration(tmp_path):
    check = ["promtool", "check", "config", "--syntax-only"]
    good = subprocess.run([*check, GRAFANA / "prometheus.yml"], capture_output=True, text=True, timeout=60, check=False)
    assert good.returncode == 0, good.stderr
    bad = tmp_path / "bad.yml"
    bad.write_text((GRAFANA / "prometheus.yml").read_text().replace("file_sd_configs", "file_sd_config"))
    assert subprocess.run([*check, bad], capture_output=True, timeout=60, check=False).returncode == 1


def test_provisioning_points_at_the_datasource_and_the_folder():
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    assert source["url"].startswith("http://127.0.0.1:")
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/rlrig.yml").read_text())["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"].startswith("/")
