from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.rows import METRICS, SCHEMA, SHARES, Row, from_table, read_rows, scores_of, to_table, write_rows
from presets.errors import BadInput

ROW = Row("RL-RIG", 0, "two_three", "p1", 0.25, 0.5, 0.75, 0.0, 0.6, 0.7, 2.0, 0.8)
ANY_ROW = st.builds(
    Row,
    arm=st.text(min_size=1, max_size=8).filter(lambda text: text.isprintable()),
    seed=st.integers(-1, 9),
    prompts=st.sampled_from(["two_three", "four_five"]),
    prompt_id=st.uuids().map(str),
    **dict.fromkeys(SHARES, st.floats(0.0, 1.0)) | {"all_satisfied": st.sampled_from([0.0, 1.0])},
    turns=st.floats(0.0, 9.0),
    model_seconds=st.floats(0.0, 1e3),
)


@given(st.lists(ANY_ROW, max_size=6, unique_by=lambda row: row.prompt_id))
@settings(deadline=None)
def test_rows_survive_a_table(rows: list[Row]) -> None:
    assert from_table(to_table(rows)) == rows


def test_rows_survive_a_file(tmp_path: Path) -> None:
    rows = [ROW, replace(ROW, seed=1), replace(ROW, prompts="four_five")]
    path = write_rows(rows, tmp_path / "new" / "rows.parquet")
    assert read_rows(path) == rows
    assert [one.name for one in path.parent.iterdir()] == ["rows.parquet"]
    assert pq.read_schema(path).names == list(SCHEMA.names)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((name, 1.01) for name in SHARES),
        *((name, -0.01) for name in METRICS),
        *((name, float("nan")) for name in METRICS),
        ("model_seconds", float("inf")),
        ("all_satisfied", 0.5),
        ("seed", -2),
        ("prompts", "six_seven"),
        ("arm", ""),
        ("prompt_id", ""),
    ],
)
def test_a_row_refuses_values_outside_their_range(field: str, value: object) -> None:
    with pytest.raises(BadInput, match=field):
        replace(ROW, **{field: value})


def test_a_prompt_counted_twice_is_refused(tmp_path: Path) -> None:
    rows = [ROW, replace(ROW, sg_iou=0.5)]
    with pytest.raises(BadInput, match="prompt 'p1' occurs twice"):
        write_rows(rows, tmp_path / "rows.parquet")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BadInput, match="occurs twice"):
        scores_of(rows, "sg_iou")


def test_tables_of_another_kind_are_refused() -> None:
    table = to_table([ROW])
    with pytest.raises(BadInput, match="column 'judge' is missing"):
        from_table(table.drop_columns(["judge"]))
    with pytest.raises(BadInput, match="version none"):
        from_table(table.replace_schema_metadata({}))
    position = SCHEMA.names.index("turns")
    whole = table.set_column(position, "turns", pa.array([2], pa.int32()))
    with pytest.raises(BadInput, match="column 'turns' is int32, not double"):
        from_table(whole.replace_schema_metadata(SCHEMA.metadata))
    empty = table.set_column(position, "turns", pa.array([None], pa.float64()))
    with pytest.raises(BadInput, match="column 'turns' has 1 empty cells"):
        from_table(empty.replace_schema_metadata(SCHEMA.metadata))


def test_a_file_that_is_no_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_text("not a table")
    with pytest.raises(BadInput, match=r"rows\.parquet"):
        read_rows(path)


def test_scores_are_those_of_one_metric_by_seed_and_prompt() -> None:
    rows = [replace(ROW, seed=s, prompt_id=p, judge=(s + k) / 10) for k, p in enumerate(("p2", "p1")) for s in (1, 0)]
    found = scores_of(rows, "judge")
    assert (found.seeds, found.prompt_ids) == ((0, 1), ("p1", "p2"))
    assert found.values.tolist() == [[0.1, 0.0], [0.2, 0.1]]


def test_scores_refuse_rows_that_do_not_belong_together() -> None:
    with pytest.raises(BadInput, match="are mixed"):
        scores_of([ROW, replace(ROW, arm="Diffuser")], "sg_iou")
    with pytest.raises(BadInput, match="metric: 'iou' is not known"):
        scores_of([ROW], "iou")
    with pytest.raises(BadInput, match="RL-RIG on two_three: scores: seed 1 lacks prompt 'p2'"):
        scores_of([ROW, replace(ROW, prompt_id="p2"), replace(ROW, seed=1)], "sg_iou")
    with pytest.raises(BadInput, match="no value to average"):
        scores_of([], "sg_iou")
