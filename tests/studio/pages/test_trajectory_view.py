import math
import shutil
from dataclasses import replace

import pytest

from presets.keep import KeepConfig
from rollout.trajectory import read_parquet, write_parquet
from studio.pages.links import ServedLinks
from studio.pages.run_index import NotThere, RunsFolder
from studio.pages.trajectory_view import trajectory_page, trajectory_pages
from tests.studio.pages.sample_runs import MEMBERS, PROMPTS, TURNS

LINKS = ServedLinks()


def test_tokens_have_texts_and_probabilities(folder):
    page = trajectory_page(folder, "sample", 3, 0, 0, LINKS)
    tokens = page.steps[0].tokens
    assert [token.text for token in tokens] == ["reflection", "<end_of_utterance>"]
    assert [token.probability for token in tokens] == pytest.approx([math.exp(-0.1), math.exp(-0.2)], rel=1e-6)
    assert [token.tenth for token in tokens] == [9, 8]
    assert page.tokens_note is None


def test_a_later_turn_shows_what_it_started_from(folder):
    page = trajectory_page(folder, "sample", 3, 1, 2, LINKS)
    assert [(step.turn, step.group, step.own) for step in page.steps] == [(1, 0, False), (2, 1, True)]
    assert page.steps[0].carried_on
    assert page.steps[0].image_after == page.steps[1].image_before
    assert page.steps[0].link == f"/runs/sample/trajectories/3/0/{page.steps[0].member}"
    assert [one.member for one in page.siblings] == list(range(MEMBERS))


def test_members_of_a_trajectory_group_show_all_their_turns(sample, tmp_path):
    run = shutil.copytree(sample / "sample", tmp_path / "sample")
    path = run / "trajectories" / "00003.parquet"
    write_parquet([replace(turn, group=turn.prompt) for turn in read_parquet(path)], path)
    page = trajectory_page(RunsFolder(tmp_path), "sample", 3, 2, 1, LINKS)
    assert [(step.turn, step.own, len(step.tokens)) for step in page.steps] == [(1, True, 2), (2, True, 2)]


def test_the_denoising_is_shown_where_it_was_recorded(folder):
    step = trajectory_page(folder, "sample", 3, 0, 0, LINKS).steps[0]
    assert [round(one.sigma, 3) for one in step.strip] == [1.0, 0.6, 0.3]
    assert step.strip[0].log_prob is None
    assert [one.log_prob for one in step.strip[1:]] == pytest.approx([-1.0, -1.1])
    assert trajectory_page(folder, "sample", 0, 0, 0, LINKS).steps[0].note.endswith("did not train in this update.")
    unparsable = trajectory_page(folder, "sample", 3, 0, MEMBERS - 1, LINKS).steps[0]
    assert (unparsable.strip, unparsable.edited, unparsable.unread) == ([], False, "no edit")
    assert "there was no edit" in unparsable.note


@pytest.mark.parametrize(
    ("kept", "image", "strip", "note"),
    [
        ("images", True, 0, "the latents were not kept"),
        ("latents", False, 3, None),
        ("none", False, 0, "the latents were not kept"),
    ],
)
def test_what_was_not_kept_is_said_and_the_rest_is_shown(sample, tmp_path, kept, image, strip, note):
    path = shutil.copytree(sample / "sample", tmp_path / "sample") / "trajectories" / "00003.parquet"
    write_parquet(read_parquet(path), path, KeepConfig(editor=kept))
    page = trajectory_page(RunsFolder(tmp_path), "sample", 3, 0, 0, LINKS)
    step = page.steps[0]
    assert page.damaged == []
    assert [step.image_before is not None, step.image_after is not None, step.edited] == [image, image, True]
    if not image:
        assert step.without_before == step.without_after == "the image was not kept"
    assert len(step.strip) == strip
    assert (note or "") in (step.note or "")
    broken = trajectory_page(RunsFolder(tmp_path), "sample", 3, 0, MEMBERS - 1, LINKS).steps[0]
    assert (broken.edited, broken.without_after) == (False, "no edit")


def test_all_pages_of_an_update_are_those_of_each_member(folder):
    pages = list(trajectory_pages(folder, "sample", 3, LINKS))
    assert len(pages) == PROMPTS * TURNS * MEMBERS
    assert pages[5] == trajectory_page(folder, "sample", 3, pages[5].group, pages[5].member, LINKS)


def test_without_a_tokenizer_the_numbers_of_the_tokens_are_shown(sample, tmp_path):
    run = shutil.copytree(sample / "sample", tmp_path / "sample")
    (run / "models" / "actor" / "tokenizer.json").write_text("{}")
    page = trajectory_page(RunsFolder(tmp_path), "sample", 3, 0, 0, LINKS)
    assert [(token.id, token.text) for token in page.steps[0].tokens] == [(79, ""), (2, "")]
    assert "holds no tokenizer" in page.tokens_note
    shutil.rmtree(run / "models")
    assert "holds no models/actor" in trajectory_page(RunsFolder(tmp_path), "sample", 3, 0, 0, LINKS).tokens_note


@pytest.mark.parametrize(("update", "group", "member"), [(9, 0, 0), (3, 77, 0), (3, 0, 9)])
def test_what_is_not_there_is_refused(folder, update, group, member):
    with pytest.raises(NotThere):
        trajectory_page(folder, "sample", update, group, member, LINKS)
