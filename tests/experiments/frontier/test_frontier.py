"""The whole course with models without networks: measured, chosen, tested once, written, and gone on with."""

from pathlib import Path

import pytest

from experiments.frontier import choosing, systems
from experiments.frontier.choosing import Choices
from experiments.frontier.frontier import Frontier
from experiments.frontier.ledger import Ledger
from experiments.frontier.prompts import SETS
from experiments.frontier.rows import Rows
from experiments.frontier.systems import RAW, TRAINED
from presets.errors import BadInput
from tests.experiments.frontier.small_world import small_cast


@pytest.fixture
def few_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systems, "MOST_DRAWINGS", {8: 2, 12: 1, 24: 1})
    monkeypatch.setattr(systems, "STARTS", ((1, 8), (1, 24)))
    monkeypatch.setattr(systems, "_OF_BOUND", ((1, 8),))
    monkeypatch.setattr(systems, "MOST_TURNS", 2)
    monkeypatch.setattr(choosing, "LEAST_PROMPTS", 3)


SOURCES = {RAW: "1a"}


def ignore(text: str) -> None:
    pass


def table(page: str, name: str) -> list[str]:
    return [line for line in page.splitlines() if line.startswith(f"| {name} |")]


@pytest.mark.usefixtures("few_settings")
def test_untrained_systems_first_then_a_trained_one_beside_them(tmp_path: Path) -> None:
    one = Frontier(tmp_path / "rows", ignore)
    one.measure(small_cast(), SOURCES, 3, 0)
    preview = one.write(tmp_path / "docs").read_text()
    assert preview.count("**Not tested yet.**") == 4
    assert not (tmp_path / "rows" / "choices.json").exists()
    one.measure(small_cast(), SOURCES, 3, 2)
    first = one.write(tmp_path / "docs").read_text()
    assert first.startswith(
        "**Whether RL-RIG is at or above every untrained system at every budget was not tested yet.**"
    )
    assert "Oracle Actor after best-of-k | 4×" in first
    assert (tmp_path / "docs" / "frontier.svg").read_text().count("<polyline") > 8
    chosen = Choices.read(tmp_path / "rows" / "choices.json")
    assert set(chosen.units) == set(SETS)
    assert set(chosen.unit_of.values()) == {"Raw loop"}
    tried = chosen.of("two", systems.SYSTEMS[0], 4.0)
    assert tried is not None
    assert tried.seconds <= 4.0 * chosen.units["two"]

    cast = small_cast()
    cast.actors[TRAINED], cast.editors[TRAINED] = cast.actors[RAW], cast.editors[RAW]
    one.measure(cast, {**SOURCES, TRAINED: "2b"}, 3, 2)
    second = one.write(tmp_path / "docs").read_text()
    # The trained models are the raw ones here. So they are equal to the raw loop wherever the same setting was chosen.
    assert second.splitlines()[0].startswith(("**RL-RIG is at or above", "**RL-RIG is not at or above"))
    equal = table(second, "Raw loop after best-of-k")[0]
    assert "+0.000 [+0.000, +0.000]" in equal
    again = Choices.read(tmp_path / "rows" / "choices.json")
    assert again.unit_of == chosen.unit_of
    assert all(again.chosen["two"][name] == chosen.chosen["two"][name] for name in chosen.chosen["two"])
    ledger = Ledger(tmp_path / "rows" / "ledger.json")
    assert [ledger.uses("test", prompts) for prompts in SETS] == [1] * 4
    assert [ledger.commands("test", prompts) for prompts in SETS] == [2] * 4
    assert "raw `1a`, trained `2b`." in second
    with pytest.raises(BadInput, match=r"rows were made with other trained weights \(2b\)"):
        one.measure(cast, {TRAINED: "3c"}, 3, 2)
    before = (tmp_path / "rows" / "traces-test.jsonl").read_text()
    one.measure(cast, {**SOURCES, TRAINED: "2b"}, 3, 2)
    assert (tmp_path / "rows" / "traces-test.jsonl").read_text() == before
    assert Rows(tmp_path / "rows").prompt_ids("test", "six_eight") == [f"held_out-6013-{k}" for k in range(2)]


def test_without_seconds_of_calls_there_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"holds no costs\.json; measure first"):
        Frontier(tmp_path, ignore).write(tmp_path)
