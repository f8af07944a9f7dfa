import json

import pytest

from studio.pages import run_view
from studio.pages.links import FileLinks, ServedLinks
from studio.pages.run_index import RunsFolder
from studio.pages.run_view import run_page, thinned
from tests.studio.pages.sample_runs import write_empty


def test_curves_are_drawn_of_what_the_lines_say(folder):
    page = run_page(folder, "sample", ServedLinks())
    curves = {curve.title: curve for curve in page.charts}
    assert {"Reward", "Log-probability mismatch", "Staleness", "Reward minus truth"} <= curves.keys()
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


def test_a_long_run_is_thinned_by_stage():
    lines = [
        {
            "update": k,
            "stage": "actor" if k < 451 else "editor",
            "reward_mean": float(k),
            "staleness": {"max": float(k)},
        }
        for k in range(900)
    ]
    thin, words = thinned(lines)
    assert "3 successive updates" in words
    assert (thin[0]["update"], thin[0]["reward_mean"], thin[0]["staleness"]["max"]) == (0, 1.0, 2.0)
    assert [line["update"] for line in thin if line["stage"] == "editor"][:2] == [451, 454]
    assert thin[150] == {"update": 450, "stage": "actor", "reward_mean": 450.0, "staleness": {"max": 450.0}}
    assert len(thin) <= run_view.POINTS + 1
    assert thinned(lines[:300]) == (lines[:300], "")


def test_a_summary_of_another_form_is_said(tmp_path):
    run = write_empty(tmp_path, "run")
    (run / "metrics.jsonl").write_text(json.dumps({"update": 0, "stage": "actor", "reward_mean": 0.5}) + "\n")
    (run / "summary.json").write_text('{"minutes": "long", "before": 3}')
    page = run_page(RunsFolder(tmp_path), "run", ServedLinks())
    assert page.evaluations == []
    assert [text.partition(" is ")[0] for text in page.damaged] == ["summary.json: minutes", "summary.json: before"]
    assert "finished, 1 of 4" in page.progress
