from dataclasses import replace
from pathlib import Path

import pytest

from reports.prompt_sums import read_prompt_sums
from rollout.groups.batches import describe
from rollout.trajectory import read_parquet, write_parquet
from tests.reports.synthetic_run import write_run


def test_the_sums_of_prompts_make_the_means_of_the_update(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    file = run / "trajectories" / "00002.parquet"
    turns = read_parquet(file)
    turns[1] = replace(turns[1], rejected="the image is black")
    turns = [replace(turn, dropped=turn.group in (0, 3)) for turn in turns]
    write_parquet([replace(t, rejected="x") if t.group == 3 and t.member else t for t in turns], file)
    found, faults = read_prompt_sums(run / "trajectories")
    assert (sorted(found), faults) == (list(range(8)), [])
    whole = describe(read_parquet(file))
    for metric in ("reward_mean", "reward_std", "reward_before"):
        sums, counts = found[2].arrays(metric)
        assert len(counts) == 3
        assert sums.sum() / counts.sum() == pytest.approx(whole[metric])
    sums, counts = found[2].arrays("unparsable_share")
    assert sums.sum() / counts.sum() == pytest.approx(whole["unparsable"] / whole["turns"])
    assert found[2].rejected == whole["rejected"] == {"the image is black": 1, "x": 3}
    assert found[2].dropped == {"all rewards were equal": 1, "fewer than two members were left": 1}


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", updates=1)
    (run / "trajectories" / "00000.parquet").write_bytes(b"not parquet")
    found, (fault,) = read_prompt_sums(run / "trajectories")
    assert list(found) == [1]
    assert fault.startswith("trajectories/00000.parquet is left out: ")
