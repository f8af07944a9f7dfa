import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.status.reader import read_status, status_of, thinned
from reports.status.status import LiveRecord, RunStatus
from tests.reports.synthetic_run import write_run

RECORD = LiveRecord(
    run="x",
    state="running",
    phase="learn",
    phase_since=90.0,
    at=95.0,
    started=10.0,
    done=2,
    total=8,
    seconds_left=60.0,
    host="h",
    pid=1,
    pid_started=5.0,
    logger_failures={"mlflow": 3},
)


def line(update: int, **more: object) -> dict:
    return {
        "update": update,
        "stage": "actor",
        "reward_mean": 0.1 * update,
        "groups_dropped": 2,
        "rejected": {"the image is black": 1, "the reward is not finite": 2},
        "restarts": 0,
        "replaced": 0,
        "requeued": 0,
        "unanswered": 0,
        "actor_version": update + 1,
        "editor_version": 0,
        "staleness": {"max": 1.0, "mean": 0.25},
        "images": 40,
        "answer_tokens": 300,
        "seconds": {"learn": 3.0},
        "seconds_total": 4.0,
        **more,
    }


def of(files: dict[str, str], alive: bool | None = None) -> RunStatus | None:
    return read_status("x", files.get, lambda _: alive)


def test_a_running_run_says_phase_updates_rates_versions_and_health() -> None:
    files = {
        "config.yaml": "stages: [{stage: actor, updates: 5}, {stage: editor, updates: 3}]",
        "metrics.jsonl": "".join(json.dumps(line(n)) + "\n" for n in range(3)),
        "progress.json": RECORD.model_dump_json(),
        "summary.json": json.dumps({"run": "x", "diffuser": {"sg_iou": 0.3}, "before": {"sg_iou": 0.5, "n": {"a": 1}}}),
    }
    status = of(files, alive=True)
    assert (status.state, status.phase, status.phase_since, status.at) == ("running", "learn", 90.0, 95.0)
    assert (status.updates, status.total_updates, status.seconds_left) == (3, 8, 60.0)
    assert status.reward.values == pytest.approx([0.0, 0.1, 0.2])
    assert (status.reward.first, status.reward.last) == (0.0, pytest.approx(0.2))
    assert status.truth.last is None
    assert status.throughput.seconds_per_update == pytest.approx(4.0)
    assert status.throughput.images_per_second == pytest.approx(10.0)
    assert status.throughput.tokens_per_second == pytest.approx(75.0)
    assert status.versions == {"actor": 3, "editor": 0}
    assert (status.staleness_max, status.staleness_mean) == (1.0, 0.25)
    assert (status.health.rejected, status.health.dropped, status.health.logger_failures) == (9, 6, 3)
    assert status.held_out == {"diffuser": {"sg_iou": 0.3}, "before": {"sg_iou": 0.5}}
    assert status.faults == []
    assert not status.over


def test_throughput_is_that_of_the_last_ten_updates() -> None:
    slow = [line(n, seconds_total=100.0) for n in range(20)]
    fast = [line(n, seconds_total=2.0) for n in range(20, 30)]
    assert status_of("x", slow + fast, None, {}, 30).throughput.seconds_per_update == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("state", "alive", "expected"),
    [
        ("running", True, "running"),
        ("running", None, "running"),
        ("running", False, "lost"),
        ("failed", False, "failed"),
        ("finished", False, "finished"),
        ("interrupted", None, "interrupted"),
    ],
)
def test_a_run_whose_process_is_gone_is_lost_unless_it_said_how_it_ended(
    state: str, alive: bool | None, expected: str
) -> None:
    record = RECORD.model_copy(update={"state": state})
    assert status_of("x", [], record, {}, 8, alive).state == expected


def test_a_run_without_progress_is_finished_by_its_summary_or_unknown(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", updates=4)
    read = lambda name: (folder / name).read_text() if (folder / name).is_file() else None  # noqa: E731
    summary = json.loads((folder / "summary.json").read_text())
    del summary["minutes"]
    (folder / "summary.json").write_text(json.dumps(summary))
    status = read_status("run", read)
    assert (status.state, status.updates, status.total_updates) == ("unknown", 8, 8)
    assert status.throughput.images_per_second is None
    assert status.throughput.seconds_per_update == pytest.approx(12.7, abs=0.5)
    assert list(status.held_out) == ["diffuser", "before", "after"]
    (folder / "summary.json").write_text(json.dumps({"minutes": 3.0}))
    assert read_status("run", read).state == "finished"


def test_where_no_run_lies_there_is_none_and_one_that_has_just_begun_is_empty() -> None:
    assert of({"metrics.jsonl": "{}"}) is None
    status = of({"config.yaml": "stages: [{updates: 2}]"})
    assert (status.updates, status.total_updates, status.reward.last, status.versions) == (0, 2, None, {})


def test_damaged_files_are_named_and_half_a_last_line_is_no_damage() -> None:
    files = {
        "config.yaml": "stages: 3",
        "metrics.jsonl": json.dumps(line(0)) + "\n{broken\n" + json.dumps(line(1)) + '\n{"upd',
        "progress.json": '{"run": "x"}',
        "summary.json": "[1]",
    }
    status = of(files)
    assert status.updates == 2
    assert [fault.split(":")[0] for fault in status.faults] == [
        "metrics.jsonl, line 2",
        "progress.json",
        "summary.json is left out",
        "config.yaml",
        "config.yaml",
    ]


@given(st.lists(st.lists(st.integers(0, 50), min_size=1).map(sorted), min_size=1, max_size=5))
def test_counters_that_begin_again_with_each_process_are_added_up(processes: list[list[int]]) -> None:
    """A process whose counter does not begin below where the last one ended cannot be told from a continued one."""
    values = [value for process in processes for value in process]
    lines = [line(n, restarts=value) for n, value in enumerate(values)]
    counted = status_of("x", lines, None, {}, None).health.restarts
    assert max(values) <= counted <= sum(process[-1] for process in processes)
    falls = all(b[0] < a[-1] for a, b in pairwise(processes))
    if falls:
        assert counted == sum(process[-1] for process in processes)


def test_a_status_survives_the_metadata_of_a_job_with_a_thinner_curve() -> None:
    status = status_of("x", [line(n) for n in range(200)], RECORD, {"before": {"sg_iou": 0.5}}, 300, True)
    text = thinned(status, 60).model_dump_json(exclude_none=True)
    again = RunStatus.model_validate_json(text)
    assert len(text) < 4000
    assert len(again.reward.values) == 60
    assert (again.reward.last, again.updates, again.held_out) == (status.reward.last, 200, {})
    assert again.health == status.health
