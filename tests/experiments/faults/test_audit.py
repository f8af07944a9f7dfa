from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from experiments.faults.audit import Audit, Ledger, audit, read_ledger
from tests.reports.synthetic_run import write_run

LEDGER = Ledger({0: frozenset({0, 1}), 1: frozenset({2, 3})}, {"actor": "a", "editor": "b"})


def test_a_run_that_consumed_the_same_is_sound() -> None:
    assert audit(LEDGER, LEDGER) == Audit(0, 0, 0, True)
    assert audit(LEDGER, LEDGER).sound


def test_lost_and_repeated_prompts_and_missing_updates_are_counted() -> None:
    lost = replace(LEDGER, prompts={0: frozenset({0, 1}), 1: frozenset({2, 9})})
    assert audit(LEDGER, lost) == Audit(1, 0, 0, True)
    twice = replace(LEDGER, prompts={0: frozenset({0, 1}), 1: frozenset({1, 2, 3})})
    assert audit(LEDGER, twice) == Audit(0, 1, 0, True)
    short = replace(LEDGER, prompts={0: frozenset({0, 1, 2, 3})})
    assert audit(LEDGER, short) == Audit(0, 0, -1, True)
    assert not any(audit(LEDGER, run).sound for run in (lost, twice, short))


def test_other_weights_are_told() -> None:
    assert not audit(LEDGER, replace(LEDGER, digest={"actor": "a", "editor": "c"})).same_weights


def test_a_ledger_is_read_from_a_run_s_folder(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", updates=2, prompts=3)
    ledger = read_ledger(run)
    assert ledger.prompts == dict.fromkeys(range(4), frozenset({0, 1, 2}))
    assert ledger.digest == {"actor": "actor-1", "editor": "editor-3"}
    assert audit(ledger, ledger).twice == 3
