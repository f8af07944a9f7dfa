from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from actors.flow_path import FlowPath
from presets.keep import KeepConfig
from reports.reading.trajectories import read_rows
from rewards.part import Part
from rollout.trajectory import (
    SCHEMA,
    Turn,
    TurnSeconds,
    from_table,
    read_parquet,
    to_table,
    write_parquet,
)
from scenes.laion_sg import read_record
from scenes.png import Picture
from scenes.vocabulary.vocabulary import ANY_RELATION

images = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))).map(Picture)
finite = st.floats(-1e6, 1e6, width=32)
int64 = st.integers(-(2**63), 2**63 - 1)


@st.composite
def flows(draw: st.DrawFn) -> FlowPath:
    steps, tokens, channels = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    return FlowPath(
        draw(hnp.arrays(np.float32, (steps + 1, tokens, channels), elements=finite)),
        draw(hnp.arrays(np.float32, (steps + 1,), elements=finite)),
        draw(hnp.arrays(np.float32, (steps,), elements=finite)),
        draw(st.floats(0, 2)),
    )


turns = st.builds(
    Turn,
    run=st.text(),
    prompt_id=st.text(),
    scene_graph=st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.lists(st.text()))),
    stage=st.sampled_from(["actor", "editor"]),
    update=int64,
    group=int64,
    member=int64,
    turn=int64,
    carried_on=st.booleans(),
    prompt=int64,
    started=int64,
    actor_version=int64,
    editor_version=int64,
    image_before=st.none() | images,
    image_after=st.none() | images,
    request=st.text(),
    reflection=st.none() | st.text(),
    edit_prompt=st.none() | st.text(),
    answer_text=st.text(),
    token_ids=st.lists(st.integers(0, 2**31 - 1)),
    token_log_probs=st.lists(finite),
    requirements=st.lists(st.text()),
    satisfaction_before=st.lists(finite),
    satisfaction_after=st.lists(finite),
    reward_before=st.floats(0, 1),
    reward=st.floats(0, 1),
    advantage=st.none() | st.floats(-10, 10),
    dropped=st.booleans(),
    flow=st.none() | flows(),
    draw_seed=st.none() | int64,
    actor_seed=st.none() | int64,
    edit_seed=st.none() | int64,
    seconds=st.builds(TurnSeconds, *[st.floats(0, 99)] * 4),
    compute_seconds=st.builds(TurnSeconds, *[st.floats(0, 99)] * 4),
)


def example(**changes: object) -> Turn:
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    turn = Turn(
        run="r",
        prompt=4,
        prompt_id="p0",
        scene_graph={"img_id": "p0", "items": [], "relations": []},
        stage="editor",
        started=2,
        update=3,
        group=1,
        member=0,
        turn=0,
        carried_on=True,
        actor_version=2,
        editor_version=1,
        image_before=Picture(image),
        image_after=Picture(255 - image),
        request="goal : a . fix ?",
        reflection="red circle right of blue square",
        edit_prompt="move red circle left of blue square",
        answer_text="reflection : … . edit : … .",
        token_ids=[5, 6, 7],
        token_log_probs=[-0.5, -0.25, -2.0],
        requirements=["red circle left of blue square"],
        satisfaction_before=[0.25],
        satisfaction_after=[0.75],
        reward_before=0.0,
        reward=1.0,
    )
    return replace(turn, **changes)


def assert_same(left: Turn, right: Turn) -> None:
    for name in SCHEMA.names:
        a, b = getattr(left, name), getattr(right, name)
        if isinstance(a, FlowPath):
            assert a.eta == b.eta
            for part in ("latents", "sigmas", "log_probs"):
                assert getattr(a, part).dtype == getattr(b, part).dtype == np.float32
                np.testing.assert_array_equal(getattr(a, part), getattr(b, part))
        elif isinstance(a, Picture):
            assert a.pixels.dtype == b.pixels.dtype == np.uint8
            np.testing.assert_array_equal(a.pixels, b.pixels)
        else:
            assert a == b, name


@settings(deadline=None, max_examples=60)
@given(st.lists(turns, max_size=3))
def test_table_round_trip_is_exact(original: list[Turn]) -> None:
    table = to_table(original)
    assert table.schema.equals(SCHEMA, check_metadata=True)
    restored = from_table(table)
    assert len(restored) == len(original)
    for left, right in zip(original, restored, strict=True):
        assert_same(left, right)


def test_parquet_round_trip_keeps_schema_version(tmp_path: Path) -> None:
    flow = FlowPath(np.ones((3, 4, 2)), np.array([1.0, 0.5, 0.25]), np.array([-1.0, -2.0]), 0.7)
    path = write_parquet([example(), example(flow=flow, advantage=1.5)], tmp_path / "trajectories" / "0.parquet")
    assert [file.name for file in path.parent.iterdir()] == ["0.parquet"]
    assert pq.read_schema(path).metadata[b"rlrig.version"] == b"6"
    assert pq.read_schema(path).field("reward").metadata[b"doc"] == b"reward of image_after"
    first, second = read_parquet(path.parent)
    assert_same(first, example())
    assert_same(second, example(flow=flow, advantage=1.5))


def test_what_is_not_kept_is_null_and_the_rest_as_it_was(tmp_path: Path) -> None:
    flow = FlowPath(np.ones((3, 4, 2)), np.array([1.0, 0.5, 0.25]), np.array([-1.0, -2.0]), 0.7)
    turns = [example(flow=flow), example(stage="actor")]
    path = write_parquet(turns, tmp_path / "0.parquet", KeepConfig(actor="none", editor="latents"))
    editor, actor = read_parquet(path)
    assert_same(editor, example(flow=flow, image_before=None, image_after=None))
    assert_same(actor, example(stage="actor", image_before=None, image_after=None))
    with pytest.raises(ValueError, match="update 3, group 1: the image before was not kept"):
        _ = editor.start
    (images,) = read_parquet(write_parquet(turns[:1], path, KeepConfig(editor="images")))
    assert_same(images, example())


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="uint8"):
        write_parquet([example(image_before=Picture(np.zeros((2, 2))))], tmp_path / "0.parquet")
    assert list(tmp_path.iterdir()) == []


def test_other_schema_version_is_refused() -> None:
    table = to_table([example()]).replace_schema_metadata({"rlrig.version": "99"})
    with pytest.raises(ValueError, match="schema version 99; this code reads version 6"):
        from_table(table)


def test_a_table_from_before_answers_had_reasons_is_read_without_them(tmp_path: Path) -> None:
    table = to_table([example(unread="no edit", truncated=True)])
    older = table.drop_columns(["unread", "truncated"]).replace_schema_metadata({"rlrig.version": "3"})
    (turn,) = from_table(older)
    assert (turn.unread, turn.truncated) == (None, None)
    pq.write_table(older, tmp_path / "0.parquet")
    ((row,), faults) = read_rows(tmp_path / "0.parquet", ["stage", "reward", "unread", "truncated"])
    assert (row["reward"], row["unread"], row["truncated"], faults) == (turn.reward, None, None, [])
    with pytest.raises(ValueError, match="column 'unread' is missing"):
        from_table(table.drop_columns(["unread"]))


def test_missing_column_is_named(tmp_path: Path) -> None:
    pq.write_table(to_table([example()]).drop_columns(["reward"]), tmp_path / "0.parquet")
    with pytest.raises(ValueError, match=r"0\.parquet: trajectory table: column 'reward' is missing"):
        read_parquet(tmp_path)


def test_column_of_another_type_is_named() -> None:
    table = to_table([example()])
    position = table.schema.get_field_index("group")
    table = table.set_column(position, pa.field("group", pa.string()), [["a"]])
    with pytest.raises(ValueError, match="column 'group' is string, not int64"):
        from_table(table)


def test_every_column_is_documented() -> None:
    assert [f.name for f in SCHEMA if f.name != "seconds" and not (f.metadata or {}).get(b"doc")] == []


def test_the_parts_of_a_reward_come_back_and_older_tables_have_none() -> None:
    parts = [Part("checker", 0.5, 0.5, 0.1), Part("far", float("nan"), float("nan"))]
    table = to_table([example(reward_parts=parts), example()])
    told, untold = from_table(table)
    assert repr(told.reward_parts) == repr(parts)
    assert untold.reward_parts is None
    for version in ("5", "4"):
        older = table.drop_columns(["reward_parts"]).replace_schema_metadata({"rlrig.version": version})
        assert [turn.reward_parts for turn in from_table(older)] == [None, None]


@settings(max_examples=5, deadline=None)
@given(turns)
def test_requirements_of_every_kind_come_back_from_a_table(turn: Turn) -> None:
    graph = ANY_RELATION.read("a fox on a table; a lamp; two cats; the table is wooden; ? Is the fox asleep?")
    texts = [one.text for one in graph.requirements]
    (read,) = from_table(to_table([replace(turn, scene_graph=graph.record(), requirements=texts)]))
    again = read_record(read.scene_graph, "row 0")
    assert again == graph
    assert [(one.kind, one.text) for one in again.requirements] == [
        ("relation", "fox on table"),
        ("presence", "a lamp"),
        ("count", "two cats"),
        ("attribute", "table is wooden"),
        ("question", "? Is the fox asleep?"),
    ]
    assert read.requirements == texts
