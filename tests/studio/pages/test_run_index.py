import json
import os

import pytest

from reports.before_after.picture import write_pictures
from reports.before_after.rows import before_after
from studio.pages import run_index
from studio.pages.run_index import NotThere, RunsFolder
from tests.reports.held_out_episodes import write_evaluation
from tests.studio.pages.sample_runs import write_empty


def test_the_run_that_was_last_written_comes_first(sample, folder):
    names = folder.names()
    assert sorted(names) == ["empty", "sample"]
    os.utime(sample / "empty" / "config.yaml", (2e9, 2e9))
    assert RunsFolder(sample).names() == ["empty", "sample"]


def test_a_line_says_how_far_a_run_is(folder):
    shown = {run.name: run for run in folder.page().runs}
    assert shown["sample"].state == "finished, 4 of 4 updates"
    score = json.loads((folder.root / "sample" / "summary.json").read_text())["after"]["sg_iou"]
    assert (shown["sample"].metric, shown["sample"].score) == ("SG-IoU", score)
    assert shown["empty"].state == "no update yet"
    assert (shown["empty"].score, shown["empty"].image) == (None, None)


def test_many_runs_are_paged(tmp_path, monkeypatch):
    monkeypatch.setattr(run_index, "RUNS_ON_A_PAGE", 3)
    for number in range(7):
        write_empty(tmp_path, f"run-{number}")
    pages = [RunsFolder(tmp_path).page(number) for number in (1, 2, 3, 9, 0)]
    assert [len(page.runs) for page in pages] == [3, 3, 1, 1, 3]
    assert {run.name for page in pages for run in page.runs} == {f"run-{number}" for number in range(7)}
    assert (pages[3].page, pages[3].pages, pages[3].total) == (3, 3, 7)


@pytest.mark.parametrize("name", ["..", ".", "", "../sample", "sample/models", "/etc", "nothing", "a\0b", "sample/."])
def test_only_runs_in_the_folder_are_found(folder, name):
    with pytest.raises(NotThere):
        folder.find(name)


def test_links_that_lead_out_are_not_followed(tmp_path):
    outside = write_empty(tmp_path / "outside", "secret")
    (outside / "metrics.jsonl").write_text('{"update": 0, "stage": "actor", "reward_mean": 0.25}\n')
    runs = tmp_path / "runs"
    run = write_empty(runs, "run")
    (runs / "linked").symlink_to(outside)
    (run / "metrics.jsonl").symlink_to(outside / "metrics.jsonl")
    (run / "summary.json").symlink_to(outside / "config.yaml")
    folder = RunsFolder(runs)
    assert folder.names() == ["run"]
    with pytest.raises(NotThere):
        folder.find("linked")
    record = folder.record("run")
    assert record.lines == []
    assert len([text for text in record.damaged if "leads out" in text]) == 2


def test_what_is_broken_is_said_without_a_path(tmp_path):
    run = write_empty(tmp_path, "run")
    (run / "config.yaml").write_text("a: [")
    (run / "summary.json").write_text("[1]")
    record = RunsFolder(tmp_path).record("run")
    assert [text.split(" ")[0] for text in record.damaged] == ["summary.json", "config.yaml"]
    assert str(tmp_path) not in "".join(record.damaged)
    (run / "config.yaml").write_text("stages: 7")
    assert RunsFolder(tmp_path).record("run").damaged[-1] == "config.yaml: stages is 7, left out (no list)"


def test_a_folder_that_is_not_there_holds_no_run(tmp_path):
    page = RunsFolder(tmp_path / "none").page()
    assert (page.runs, page.pages, page.total) == ([], 1, 0)


def test_the_state_changes_with_the_metrics(tmp_path):
    run = write_empty(tmp_path, "run")
    folder = RunsFolder(tmp_path)
    before = folder.state("run")
    assert folder.state("run") == before
    (run / "metrics.jsonl").write_text('{"update": 0}\n')
    assert folder.state("run") != before


def test_a_run_that_goes_on_says_how_long_it_will_take_and_shows_its_picture(tmp_path):
    run = write_empty(tmp_path, "run")
    said = {"run": "run", "state": "running", "phase_since": 1.0, "at": 2.0, "started": 0.0, "host": "h", "pid": 1}
    (run / "progress.json").write_text(json.dumps({**said, "pid_started": 0.0, "seconds_left": 605.0}))
    write_evaluation(run, "before", [True])
    write_pictures(before_after(run)[0], run, "run")
    (shown,) = RunsFolder(tmp_path).page().runs
    assert shown.state == "no update yet, about 10:05 left"
    assert shown.image.startswith("data:image/png;base64,")
    (run / "progress.json").write_text(json.dumps({**said, "pid_started": 0.0, "state": "failed"}))
    assert RunsFolder(tmp_path).page().runs[0].state == "no update yet"
