import shutil
from dataclasses import replace

import pytest

from presets.keep import KeepConfig
from rewards.part import Part
from rollout.trajectory import read_parquet, write_parquet
from studio.pages import group_view
from studio.pages.group_filter import BadFilter, GroupFilter, whole_number
from studio.pages.group_view import group_page
from studio.pages.links import ServedLinks
from studio.pages.run_index import NotThere, RunsFolder
from tests.studio.pages.sample_runs import MEMBERS, PROMPTS, TURNS

LINKS = ServedLinks()


def test_a_group_shows_all_members_with_rewards_and_advantages(folder):
    page = group_page(folder, "sample", 3, GroupFilter(), LINKS)
    assert (page.all, page.total, page.stage, page.turns) == (PROMPTS * TURNS, PROMPTS * TURNS, "editor", [1, 2])
    group = page.groups[0]
    assert [one.member for one in group.members] == list(range(MEMBERS))
    assert [one.advantage for one in group.members] == [1.0, -1.0, 1.0, -1.0]
    assert sum(one.carried_on for one in group.members) == 1
    assert group.members[0].image.startswith("data:image/png;base64,")
    assert (group.members[-1].image, group.members[-1].without) == (None, "no edit")
    assert group.members[0].link == f"/runs/sample/trajectories/3/{group.group}/0"
    assert group.image.startswith("data:image/png")


def test_groups_whose_images_were_not_kept_are_shown_with_their_numbers(sample, tmp_path):
    path = shutil.copytree(sample / "sample", tmp_path / "sample") / "trajectories" / "00003.parquet"
    write_parquet(read_parquet(path), path, KeepConfig(editor="none"))
    page = group_page(RunsFolder(tmp_path), "sample", 3, GroupFilter(), LINKS)
    assert (page.damaged, page.total) == ([], PROMPTS * TURNS)
    group = page.groups[0]
    assert (group.image, group.without) == (None, "the image was not kept")
    why = [one.without for one in group.members]
    assert why == ["the image was not kept"] * (MEMBERS - 1) + ["no edit"]
    assert [one.advantage for one in group.members] == [1.0, -1.0, 1.0, -1.0]


def test_filters_leave_the_groups_that_fit(folder):
    failed = group_page(folder, "sample", 3, GroupFilter(failed=True), LINKS)
    assert [group.turn for group in failed.groups] == [1] * PROMPTS  # the last member of a first turn is unparsable
    assert [g.turn for g in group_page(folder, "sample", 3, GroupFilter(turn=2), LINKS).groups] == [2] * PROMPTS
    dropped = group_page(folder, "sample", None, GroupFilter(dropped=True), LINKS)
    assert (dropped.update, dropped.total, dropped.before, dropped.after) == (3, 1, None, None)
    actor = group_page(folder, "sample", None, GroupFilter(stage="actor"), LINKS)
    assert (actor.update, actor.stage, actor.before, actor.after) == (1, "actor", 0, None)
    nothing = group_page(folder, "sample", 0, GroupFilter(dropped=True), LINKS)
    assert (nothing.total, nothing.after) == (0, 3)
    assert "passes the filter" in nothing.problem


def test_many_groups_are_paged(folder, monkeypatch):
    monkeypatch.setattr(group_view, "GROUPS_ON_A_PAGE", 4)
    pages = [group_page(folder, "sample", 3, GroupFilter(), LINKS, number) for number in (1, 2, 7)]
    assert [(page.page, len(page.groups)) for page in pages] == [(1, 4), (2, 2), (2, 2)]
    assert len(group_page(folder, "sample", 3, GroupFilter(), LINKS, None).groups) == 6


def test_what_is_not_there_or_broken_is_said(sample, tmp_path, folder):
    with pytest.raises(NotThere, match="update 9"):
        group_page(folder, "sample", 9, GroupFilter(), LINKS)
    assert "no trajectories yet" in group_page(folder, "empty", None, GroupFilter(), LINKS).problem
    run = shutil.copytree(sample / "sample", tmp_path / "sample")
    (run / "trajectories" / "00003.parquet").write_bytes(b"PAR1 half")
    problem = group_page(RunsFolder(tmp_path), "sample", 3, GroupFilter(), LINKS).problem
    assert problem.startswith("trajectories/00003.parquet is left out")
    assert str(tmp_path) not in problem


def test_a_trajectory_file_that_leads_out_is_not_there(sample, tmp_path):
    run = shutil.copytree(sample / "sample", tmp_path / "runs" / "sample")
    stolen = (run / "trajectories" / "00003.parquet").rename(tmp_path / "00003.parquet")
    (run / "trajectories" / "00003.parquet").symlink_to(stolen)
    with pytest.raises(NotThere):
        group_page(RunsFolder(tmp_path / "runs"), "sample", 3, GroupFilter(), LINKS)


def test_a_filter_is_read_from_an_address_and_written_to_it():
    query = {"stage": "editor", "turn": "1", "failed": "on", "dropped": "on"}
    assert GroupFilter.from_query(query) == GroupFilter("editor", 1, True, True)
    assert GroupFilter.from_query(query).query == query
    assert GroupFilter.from_query({"stage": "all", "turn": "all"}) == GroupFilter()
    assert GroupFilter().query == {}


@pytest.mark.parametrize("query", [{"stage": "checker"}, {"turn": "-1"}, {"turn": "x"}, {"turn": "1" * 40}])
def test_a_filter_that_cannot_be_is_refused(query):
    with pytest.raises(BadFilter, match=next(iter(query))):
        GroupFilter.from_query(query)


def test_numbers_in_an_address_are_whole():
    assert whole_number("12", "page") == 12
    for text in ("", "²", "1.5", " 1"):
        with pytest.raises(BadFilter, match="page"):
            whole_number(text, "page")


def test_members_show_the_parts_of_their_rewards_where_there_are_several(sample, tmp_path):
    path = shutil.copytree(sample / "sample", tmp_path / "sample") / "trajectories" / "00003.parquet"
    parts = [
        Part("checker", 0.5, 0.5),
        Part("kept_requirements", -0.001, -0.001),
        Part("far", float("nan"), float("nan")),
    ]
    turns = [replace(turn, reward_parts=parts if turn.member else parts[:1]) for turn in read_parquet(path)]
    write_parquet(turns, path)
    first, second, *_ = group_page(RunsFolder(tmp_path), "sample", 3, GroupFilter(), LINKS).groups[0].members
    assert first.parts == ""
    assert second.parts == "checker 0.50 · kept requirements 0.00 · far left out"
