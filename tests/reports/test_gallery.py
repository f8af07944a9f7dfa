import base64
import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from presets.keep import KeepConfig
from reports.gallery import COLUMNS, choose, episode_numbers, episodes
from reports.reading.picture import Pictures
from reports.reading.trajectories import read_rows
from rollout.trajectory import read_parquet, write_parquet
from scenes.png import data_uri
from tests.reports.synthetic_run import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("gallery") / "synthetic", prompts=6)


def rows_of(run: Path, update: int = 3) -> list[dict]:
    return read_rows(run / "trajectories" / f"{update:05}.parquet", COLUMNS)[0]


def test_episode_follows_the_member_that_went_on(run: Path) -> None:
    found = episodes(rows_of(run))
    assert len(found) == 6
    for episode in found:
        assert len(episode.turns) == 2
        for turn in episode.turns:
            assert turn.reward == max(member.reward for member in turn.members)
            assert turn.image == turn.members[0].image
        assert [member.without for member in episode.turns[0].members if member.image is None] == ["no edit"]


@pytest.mark.parametrize("group", ["turn", "trajectory"])
def test_episodes_without_their_images_are_the_same_turns(run: Path, tmp_path: Path, group: str) -> None:
    turns = read_parquet(run / "trajectories" / "00003.parquet")
    if group == "trajectory":  # the member that went on is the same in all turns
        best = {turn.prompt: turn.member for turn in turns if turn.turn == 0 and turn.carried_on}
        going_on = (turn for turn in turns if turn.turn == 0 or turn.member == best[turn.prompt])
        turns = [replace(turn, group=turn.prompt) for turn in going_on]
    found = episodes(read_rows(write_parquet(turns, tmp_path / "all.parquet"), COLUMNS)[0])
    path = write_parquet(turns, tmp_path / "none.parquet", KeepConfig(actor="none"))
    rows, faults = read_rows(path, COLUMNS)
    assert faults == []
    bare = episodes(rows)
    assert [len(episode.turns) for episode in bare] == [len(episode.turns) for episode in found] == [2] * 6
    for one, other in zip(bare, found, strict=True):
        assert (one.image, one.gain, one.chips) == (None, other.gain, other.chips)
        for turn, shown in zip(one.turns, other.turns, strict=True):
            assert (turn.image, turn.without) == (None, "the image was not kept")
            assert turn.edit_prompt == shown.edit_prompt
            assert [member.reward for member in turn.members] == [member.reward for member in shown.members]
    assert [m.without for m in bare[0].turns[0].members].count("no edit") == 1


def test_gallery_goes_on_from_the_image_before_where_a_turn_made_nothing_better(run: Path) -> None:
    rows = rows_of(run)
    ours = [row for row in rows if row["prompt_id"] == rows[0]["prompt_id"]]
    start = ours[0]["image_before"]
    for row in ours:
        row["image_before"] = start
        row["carried_on"] = row["carried_on"] and row["turn"] == 1
    (episode,) = episodes(ours)
    assert [turn.kept for turn in episode.turns] == [False, True]
    assert episode.gain == pytest.approx(episode.turns[1].reward - episode.reward_before)
    for row in ours:
        row["carried_on"] = False
    assert episodes(ours)[0].gain == 0.0


def test_best_and_worst_of_each_policy_are_shown_once_each(run: Path) -> None:
    chosen = choose(episodes(rows_of(run, 3) + rows_of(run, 7)), best=2, worst=1)
    assert [(rank, episode.stage) for rank, episode in chosen] == [
        *[("best 1", "actor"), ("best 2", "actor"), ("worst 1", "actor")],
        *[("best 1", "editor"), ("best 2", "editor"), ("worst 1", "editor")],
    ]
    gains = [episode.gain for episode in episodes(rows_of(run, 3))]
    assert [episode.gain for _, episode in chosen[:3]] == [*sorted(gains, reverse=True)[:2], min(gains)]
    everything = choose(episodes(rows_of(run, 3)), best=4, worst=5)
    assert len({id(episode) for _, episode in everything}) == len(everything) == 6
    assert choose([]) == []


def test_a_rejected_member_without_finite_values_has_no_number(run: Path, tmp_path: Path) -> None:
    turns = read_parquet(run / "trajectories" / "00003.parquet")[:1]
    nothing = [float("nan")] * len(turns[0].requirements)
    broken = replace(turns[0], reward=float("nan"), satisfaction_after=nothing, rejected="the reward is not finite")
    (episode,) = episodes(read_rows(write_parquet([broken], tmp_path / "x.parquet"), COLUMNS)[0])
    assert episode.turns[0].reward is None
    assert episode.turns[0].rejected == "the reward is not finite"
    assert not any(chip.holds for chip in episode.turns[0].chips)
    numbers = episode_numbers("run", choose([episode]))
    assert {number.item for number in numbers} == {"best 1", "best 1, first image"}


def test_large_images_are_made_smaller_and_small_ones_are_left_as_they_are(run: Path, tmp_path: Path) -> None:
    small = rows_of(run)[0]["image_before"]
    assert Pictures().shown(small, 64) == data_uri(small)
    Image.new("RGB", (1024, 512), "red").save(tmp_path / "large.png")
    shrunk = base64.b64decode(Pictures().shown((tmp_path / "large.png").read_bytes(), 128).partition(",")[2])
    assert Image.open(io.BytesIO(shrunk)).size == (128, 64)
