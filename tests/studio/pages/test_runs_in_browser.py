import json
import shutil

import pytest

from reports.before_after.picture import write_pictures
from reports.before_after.rows import before_after
from studio.pages.static_site import write_pages
from tests.reports.held_out_episodes import write_evaluation
from tests.studio.pages.sample_runs import MEMBERS, PROMPTS, write_empty


def test_the_way_from_the_list_to_a_trajectory(sample, serve, open_page):
    page = open_page(serve(sample) + "/studio")
    page.get_by_role("link", name="Runs").click()
    page.get_by_role("link", name="sample").click()
    page.get_by_role("heading", name="Reward", exact=True).wait_for()
    assert page.title() == "sample – RL-RIG"
    assert page.locator("svg.chart").count() >= 6
    page.get_by_role("link", name="Groups of update 3").click()
    page.get_by_role("heading", name="Groups of update 3").wait_for()
    assert page.locator(".group").count() == 2 * PROMPTS
    assert page.locator(".group").first.locator(".members li").count() == MEMBERS
    page.get_by_role("link", name="Trajectory of member 0").first.click()
    page.locator(".tokens").wait_for()
    assert page.locator(".tokens li").first.inner_text().split() == ["reflection", "0.905"]
    assert page.locator(".strip img").count() == 4
    page.get_by_role("link", name="member 1:").click()
    page.get_by_text("member 1, prompt").wait_for()
    page.go_back()
    page.get_by_text("member 0, prompt").wait_for()


def test_groups_are_filtered(sample, serve, open_page):
    page = open_page(serve(sample) + "/runs/sample/groups")
    page.get_by_label("with a failed member").check()
    page.get_by_role("button", name="Show").click()
    page.get_by_text(f"{PROMPTS} of {2 * PROMPTS} groups").wait_for()
    assert page.get_by_label("with a failed member").is_checked()
    page.get_by_label("Stage").select_option("actor")
    page.get_by_label("Update", exact=True).fill("")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("heading", name="Groups of update 1").wait_for()
    page.get_by_role("link", name="← update 0").click()
    page.get_by_role("heading", name="Groups of update 0").wait_for()
    assert "failed=on" in page.url


def test_a_run_that_goes_on_is_followed_and_what_is_folded_out_stays(sample, tmp_path, serve, open_page):
    run = write_empty(tmp_path, "live")
    page = open_page(serve(tmp_path) + "/runs/live")
    page.get_by_text("so there is no curve").wait_for()
    lines = (sample / "sample" / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text(lines[0])
    page.get_by_text("not finished, 1 of 4 updates").wait_for()
    page.get_by_text("Reward: values", exact=True).click()
    (run / "metrics.jsonl").write_text("".join(lines[:2]))
    page.get_by_text("not finished, 2 of 4 updates").wait_for()
    assert page.get_by_role("region", name="Reward: values").locator("tbody tr").count() == 2
    (run / "summary.json").write_text(json.dumps({"minutes": 1.0}))
    page.get_by_text("finished, 2 of 4 updates", exact=True).wait_for()
    assert page.locator("section[data-live]").count() == 0


def test_a_run_and_a_folder_without_anything_say_so(tmp_path, serve, open_page):
    write_empty(tmp_path / "one")
    address = serve(tmp_path / "one")
    page = open_page(address + "/runs/empty")
    page.get_by_text("No update is finished yet").wait_for()
    page.goto(address + "/runs/empty/groups")
    page.get_by_text("There are no trajectories yet").wait_for()
    page = open_page(serve(tmp_path / "none") + "/runs")
    page.get_by_text("There is no run here yet").wait_for()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/runs/none", "there is no such run"),
        ("/runs/sample/groups?update=99", "there are no trajectories of it"),
        ("/runs/sample/trajectories/3/0/77", "has no member 77"),
    ],
)
def test_what_is_not_there_is_said(sample, serve, open_page, path, text):
    page = open_page(serve(sample) + path, expected=["404"])
    page.get_by_text("That is not there").wait_for()
    assert text in page.locator("#message").inner_text()


def test_damaged_files_are_named(sample, tmp_path, serve, open_page):
    run = shutil.copytree(sample / "sample", tmp_path / "sample")
    (run / "trajectories" / "00003.parquet").write_bytes(b"half")
    with (run / "metrics.jsonl").open("a") as file:
        file.write("{}\n")
    address = serve(tmp_path)
    page = open_page(address + "/runs/sample")
    page.get_by_text("metrics.jsonl, line 5").wait_for()
    page.goto(address + "/runs/sample/groups?update=3")
    page.get_by_text("00003.parquet is left out").wait_for()


def test_pages_that_are_files_need_no_service(sample, tmp_path, open_page):
    first = write_pages(sample / "sample", tmp_path / "site", updates=1)
    page = open_page(first.as_uri())
    page.get_by_role("link", name="Groups and trajectories").click()
    page.get_by_label("skipped (no signal)").check()
    page.get_by_text(f"1 of {2 * PROMPTS} groups").wait_for()
    assert page.locator(".group:visible").count() == 1
    page.get_by_role("link", name="Trajectory of member 0").first.click()
    page.locator(".tokens").wait_for()
    page.get_by_role("link", name="Studio").click()
    page.get_by_role("button", name="Play").click()
    page.locator(".turn h3").nth(1).wait_for()
    page.get_by_text("The recording ends here.").wait_for()


def test_a_curve_tells_the_values_that_are_pointed_at_and_is_smoothed(sample, serve, open_page):
    page = open_page(serve(sample) + "/runs/sample")
    chart = page.locator("svg.chart").first
    chart.wait_for()
    lines = [json.loads(line) for line in (sample / "sample" / "metrics.jsonl").read_text().splitlines()]
    chart.locator(".hit").nth(2).hover()
    told = page.locator(".tip").inner_text().splitlines()
    assert told == [
        "update 2",
        f"reward {lines[2]['reward_mean']:.4g}",
        f"ground truth (exact) {lines[2]['truth_mean']:.4g}",
    ]
    heights = "one => one.getAttribute('points').split(' ').map((pair) => Number(pair.split(',')[1]))"
    raw = chart.locator("polyline").first.evaluate(heights)
    page.get_by_label("Smoothing").select_option("3")
    smooth = chart.locator("polyline.smooth").first.evaluate(heights)
    actor, editor = sum(raw[:2]) / 2, sum(raw[2:]) / 2  # the mean does not reach over the change of the policy
    assert smooth == pytest.approx([actor, actor, editor, editor], abs=0.06)
    page.get_by_label("Smoothing").select_option("1")
    assert page.locator(".smooth").count() == 0


def test_two_runs_are_laid_over_each_other(sample, tmp_path, serve, open_page):
    for name in ("one", "two"):
        shutil.copytree(sample / "sample", tmp_path / name)
    config = (tmp_path / "two" / "config.yaml").read_text()
    (tmp_path / "two" / "config.yaml").write_text(config.replace("seed: 0", "seed: 9"))
    page = open_page(serve(tmp_path) + "/runs/one")
    page.get_by_label("Laid over it").select_option("two")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("heading", name="Settings that differ from two").wait_for()
    row = page.get_by_role("region", name="Settings that differ").get_by_role("row", name="seed")
    assert row.inner_text().split() == ["seed", "0", "9"]
    assert page.locator("svg.chart").first.locator("polyline").count() == 2


def test_pictures_of_before_and_after_stand_in_the_list_and_on_the_pages(sample, tmp_path, serve, open_page):
    run = shutil.copytree(sample / "sample", tmp_path / "sample")
    for name in ("before", "after"):
        write_evaluation(run, name, [True, False])
    write_pictures(before_after(run)[0], run, "sample")
    address = serve(tmp_path)
    page = open_page(address + "/runs")
    page.get_by_alt_text("The first held-out prompts of sample").wait_for()
    page.goto(address + "/runs/sample")
    page.get_by_text("Diffuser 0 of 2, untrained 1 of 2, trained 1 of 2").wait_for()
    assert page.locator(".ba-cells img").count() == 6
    assert page.locator(".ba-cells .yes").count() == 2
    site = write_pages(run, tmp_path / "site", updates=1).parent
    for name in ("index.html", "studio.html"):
        page = open_page((site / name).as_uri())
        assert page.locator(".ba-cells img").count() == 6
