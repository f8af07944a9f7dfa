import json
from typing import Any

import pytest
from typer import Typer
from typer.testing import CliRunner

from benchmarks.update_phases import main, phases_table, stage_phases
from presets.errors import BadInput


def line(stage: str, total: float, edit: float = 9.0, learn: float = 1.0) -> dict[str, Any]:
    return {
        "stage": stage,
        "seconds": {"draw": 0.5, "reflect": 0.5, "edit": edit, "check": 0.5, "learn": learn, "sync": 0.5},
        "compute_seconds": {"draw": 0.25, "reflect": 0.25, "edit": edit - 1, "check": 0.25, "learn": learn / 2},
        "seconds_total": total,
    }


def test_the_phases_of_a_policy_add_up_to_its_updates():
    lines = [line("actor", 90.0), line("actor", 13.0), line("actor", 15.0, edit=11.0), line("editor", 40.0, learn=11.0)]
    (actor,) = stage_phases(lines[:3], skip=1)
    assert (actor.policy, actor.updates) == ("actor", 2)
    assert actor.wall["edit"] == 10.0
    assert actor.wall["other"] == pytest.approx(1.0)  # 13 − 12, 15 − 14
    assert actor.total == pytest.approx(14.0)
    assert actor.compute_share == pytest.approx((0.75 + 9 + 0.5) / 14)
    assert [stage.policy for stage in stage_phases(lines, skip=0)] == ["actor", "editor"]


def test_a_policy_that_is_trained_in_turns_is_one_row():
    lines = [line("actor", 20.0), line("editor", 30.0), line("actor", 14.0), line("editor", 24.0)]
    assert [(stage.policy, stage.updates) for stage in stage_phases(lines, 1)] == [("actor", 1), ("editor", 1)]
    assert [stage.total for stage in stage_phases(lines, 1)] == pytest.approx([14.0, 24.0])


def test_sync_and_other_hold_no_model_compute():
    (stage,) = stage_phases([line("actor", 13.0)], 0)
    table = phases_table(stage)
    columns = [list(column.cells) for column in table.columns]
    assert columns[0] == ["draw", "reflect", "edit", "check", "learn", "sync", "other", "update"]
    assert columns[3][-3:] == ["", "", "9.25"]
    assert columns[2][-1] == "100.0"
    assert float(columns[4][-1]) == pytest.approx(100 * stage.compute_share, abs=0.05)


@pytest.mark.parametrize(
    ("lines", "skip", "named"),
    [
        ([], 0, "no update"),
        ([line("actor", 1.0)], 1, "--skip 1 leaves none of 1 updates of the actor"),
        (
            [line("actor", 1.0), {"stage": "actor", "seconds": {}}],
            0,
            "line 2: compute_seconds, seconds_total is missing",
        ),
    ],
)
def test_metrics_that_cannot_be_used_are_refused(lines, skip, named):
    with pytest.raises(BadInput, match=named):
        stage_phases(lines, skip)


def test_the_command_prints_the_share_and_refuses_a_folder_without_metrics(tmp_path):
    app = Typer()
    app.command()(main)
    lines = [json.dumps({"update": number, **line("actor", total)}) for number, total in enumerate((50.0, 12.5))]
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, "{"]))
    result = CliRunner().invoke(app, [str(tmp_path)])
    assert result.exit_code == 0
    assert "models compute 74.0 % of the wall time" in result.output
    assert "line 3" in result.output
    assert CliRunner().invoke(app, [str(tmp_path / "absent")]).exit_code == 2
