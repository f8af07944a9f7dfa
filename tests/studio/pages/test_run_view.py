import json
import shutil

import pytest

from studio.pages.links import FileLinks, ServedLinks
from studio.pages.run_index import NotThere, RunsFolder
from studio.pages.run_view import run_page
from tests.reports.held_out_episodes import write_evaluation
from tests.studio.pages.sample_runs import write_empty


def test_curves_are_drawn_of_what_the_lines_say(folder):
    page = run_page(folder, "sample", ServedLinks())
    curves = {curve.title: curve for curve in page.charts}
    assert {"Reward", "Log-probability mismatch", "Staleness", "Reward minus ground truth"} <= curves.keys()
    lines = folder.record("sample").lines
    rewards = [cells[0].value for _, cells in curves["Reward"].rows]
    assert rewards == pytest.approx([line["reward_mean"] for line in lines])
    assert page.time.legend == ["edit", "learn", "draw", "check", "sync"]
    assert page.live is False
    assert page.evaluations == ["diffuser", "before", "after"]


def test_updates_are_listed_from_the_newest_with_their_groups(folder):
    page = run_page(folder, "sample", ServedLinks())
    assert [one.update for one in page.updates] == [3, 2, 1, 0]
    assert page.updates[0].link == "/runs/sample/groups?update=3"
    assert page.updates[0].dropped == 1
    assert page.updates[0].failed > 0
    assert f"no edit {page.updates[0].failed}" in page.updates[0].why
    assert [one.link for one in run_page(folder, "sample", FileLinks([0])).updates] == [
        None,
        None,
        None,
        "groups-00000.html",
    ]


def test_a_run_without_updates_is_live_and_empty(folder):
    page = run_page(folder, "empty", ServedLinks())
    assert (page.charts, page.time, page.updates, page.held_out, page.groups) == ([], None, [], [], None)
    assert page.live is True


def test_a_summary_of_another_form_is_said(tmp_path):
    run = write_empty(tmp_path, "run")
    (run / "metrics.jsonl").write_text(json.dumps({"update": 0, "stage": "actor", "reward_mean": 0.5}) + "\n")
    (run / "summary.json").write_text('{"minutes": "long", "before": 3}')
    page = run_page(RunsFolder(tmp_path), "run", ServedLinks())
    assert page.evaluations == []
    assert [text.partition(" is ")[0] for text in page.damaged] == ["summary.json: minutes", "summary.json: before"]
    assert "finished, 1 of 4" in page.progress


def test_another_run_lies_over_it_and_the_settings_that_differ_are_listed(sample, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(sample / "sample", tmp_path / name)
    config = (tmp_path / "two" / "config.yaml").read_text()
    (tmp_path / "two" / "config.yaml").write_text(config.replace("seed: 0", "seed: 9"))
    folder = RunsFolder(tmp_path)
    page = run_page(folder, "one", ServedLinks(), over="two")
    assert page.others == ["two"]
    assert page.differing == {"seed": ["0", "9"]}
    assert [curve.legend for curve in page.charts if curve.title == "Reward: reward"] == [["one", "two"]]
    assert page.charts[0].columns == ["one", "two"]
    alone = run_page(folder, "one", ServedLinks())
    assert (alone.over, alone.differing) == (None, {})
    with pytest.raises(NotThere):
        run_page(folder, "one", ServedLinks(), over="three")


def test_a_page_begins_with_the_verdict_and_holds_log_starts_and_configuration(sample, tmp_path):
    run = shutil.copytree(sample / "sample", tmp_path / "sample")
    (run / "log.txt").write_text("2026 started\x1b[2J\n")
    (run / "starts.jsonl").write_text(json.dumps({"update": 0, "config": {}, "made_with": {"code": "rlrig 1"}}) + "\n")
    write_evaluation(run, "before", [True, False])
    page = run_page(RunsFolder(tmp_path), "sample", ServedLinks())
    assert page.verdict.text.startswith("Training raised SG-IoU from 0.")
    assert page.before_after.held == [0, 1]
    assert page.log == "2026 started\\x1b[2J\n"
    assert page.starts == [("start 1, from update 0", {"code": "rlrig 1"})]
    assert page.config == (run / "config.yaml").read_text()
