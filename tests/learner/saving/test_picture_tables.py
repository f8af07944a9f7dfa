from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.flow_path import FlowPath
from presets.keep import KEPT, KeepConfig
from reports.reading.trajectories import read_rows
from rollout import trajectory
from rollout.trajectory import Turn, from_table, read_parquet, to_table, write_parquet
from scenes.png import Picture
from tests.rollout.test_trajectory import assert_same, example


def noise(seed: int, side: int = 64) -> Picture:
    return Picture(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


def group_turns(groups: int = 8, members: int = 20, side: int = 64) -> list[Turn]:
    """Groups of the editor, each with a start of its own, each member with an image and a path of its own."""
    rng = np.random.default_rng(1)
    found = []
    for group in range(groups):
        start = noise(group, side)
        for member in range(members):
            latents = rng.standard_normal((3, 64, 16), dtype=np.float32)
            path = FlowPath(latents, np.array([1.0, 0.5, 0.2]), np.array([-1.0, -1.0]), 0.7)
            after = noise(1000 + group * members + member, side)
            found.append(example(group=group, member=member, image_before=start, image_after=after, flow=path))
    return found


def stored(path: Path, column: str) -> int:
    """Bytes of a column in a file."""
    metadata = pq.read_metadata(path)
    parts = [metadata.row_group(k) for k in range(metadata.num_row_groups)]
    chunks = [part.column(place) for part in parts for place in range(part.num_columns)]
    return sum(chunk.total_compressed_size for chunk in chunks if chunk.path_in_schema == column)


def test_the_start_of_a_group_is_stored_once_and_read_for_every_member(tmp_path: Path) -> None:
    turns = group_turns()
    path = write_parquet(turns, tmp_path / "0.parquet")
    starts = {turn.group: len(turn.image_before.png) for turn in turns}
    assert stored(path, "image_before") < 1.02 * sum(starts.values())
    with pq.ParquetFile(path, read_dictionary=["image_before"]) as file:
        parts = [file.read_row_group(k, columns=["image_before"])["image_before"] for k in range(file.num_row_groups)]
    assert sum(len(part.chunk(0).dictionary) for part in parts) == len(starts) == 8
    assert len(parts) == 2  # a reader holds about 64 rows at a time, and no group lies in two parts
    read = read_parquet(path)
    for left, right in zip(turns, read, strict=True):
        assert_same(left, right)
    assert len({id(turn.image_before) for turn in read}) == 8
    plain = pq.read_table(path, columns=["image_before"])["image_before"].to_pylist()  # as any other reader does
    assert plain == [turn.image_before.png for turn in turns]


def test_a_group_larger_than_a_part_is_divided_at_the_limit_of_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trajectory, "_FULL_BYTES", 100_000)
    monkeypatch.setattr(trajectory, "_MOST_BYTES", 200_000)
    turns = group_turns(groups=2, members=30)
    path = write_parquet(turns, tmp_path / "0.parquet")
    each = len(turns[0].image_after.png) + turns[0].flow.latents.nbytes
    metadata = pq.read_metadata(path)
    rows = [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]
    assert sum(rows) == 60
    assert max(rows) <= 200_000 // each + 1
    assert len(read_parquet(path)) == 60


def test_bytes_of_a_row_with_each_keep(tmp_path: Path) -> None:
    turns = group_turns()
    sizes = {}
    for kept in KEPT:
        path = write_parquet(turns, tmp_path / f"{kept}.parquet", KeepConfig(editor=kept))
        sizes[kept] = path.stat().st_size / len(turns)
    png, latents = len(turns[0].image_after.png), 3 * 64 * 16 * 4
    assert sizes["none"] < 500  # texts and numbers, which are alike here
    assert sizes["images"] - sizes["none"] == pytest.approx(png * (1 + 1 / 20), rel=0.02)
    assert sizes["latents"] - sizes["none"] == pytest.approx(latents, rel=0.02)
    assert sizes["all"] == pytest.approx(sizes["images"] + sizes["latents"] - sizes["none"], rel=0.01)


def test_the_driver_neither_decodes_nor_encodes_what_it_passes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = to_table(group_turns(groups=2, members=4))

    def refuse(_: object) -> None:
        raise AssertionError("an image was decoded or encoded")

    monkeypatch.setattr("scenes.png.encode_png", refuse)
    monkeypatch.setattr("scenes.png.decode_png", refuse)
    path = write_parquet([replace(turn, update=9) for turn in from_table(table)], tmp_path / "0.parquet")
    assert pq.read_table(path)["image_after"].equals(table["image_after"])


def test_files_of_version_4_are_read(tmp_path: Path) -> None:
    """They have the columns of this version, `image_before` without a null, and a PNG in every row."""
    columns = [field.with_nullable(False) if field.name == "image_before" else field for field in to_table([]).schema]
    turns = group_turns(groups=2, members=3)
    older = pa.Table.from_arrays(to_table(turns).columns, schema=pa.schema(columns, {"rlrig.version": "4"}))
    pq.write_table(older, tmp_path / "0.parquet", compression="zstd")
    for left, right in zip(turns, read_parquet(tmp_path), strict=True):
        assert_same(left, right)
    rows, faults = read_rows(tmp_path / "0.parquet", ["stage", "image_before", "image_after"])
    assert faults == []
    assert [row["image_before"] for row in rows] == [turn.image_before.png for turn in turns]
