"""What is written about a round, and what of it was to be reached."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.gpu_round.flops import Flops
from benchmarks.gpu_round.found import KONTEXT, Found, Memory, Sync
from benchmarks.gpu_round.sizes import Size
from learner.config import LearnerConfig
from learner.stats import LearnerStats
from weights.lora_config import LoraConfig

GIB = 2**30
ADAPTER = LearnerConfig(
    lora=LoraConfig(target_modules=("to_q",)), dtype="bfloat16", zero_stage=2, gradient_checkpointing=True
)


def stats(seconds: float) -> LearnerStats:
    """An update of eight samples."""
    return LearnerStats(
        policy="editor", version=2, digest="", samples=8, terms=40, optimizer_steps=1, learning_rate=1e-4, loss=0.0,
        kl=0.0, ratio_mean=1.0, clip_fraction=0.0, importance_mean=1.0, gradient_norm=1.0, logprob_mismatch_max=0.02,
        logprob_mismatch_mean=0.01, logprob_mismatch_by_position=[0.01], tensors_changed=1, tensors=1, seconds=seconds,
        compute_seconds=seconds,
    )  # fmt: skip


def found(card: str | None = "NVIDIA H200", size: Size = "real") -> Found:
    """A round in which one second of the card is 1,000 TFLOP."""
    return Found(size, "cuda" if card else "cpu", card, "2.11", 1000.0 if card else None, {"edits": 8})


def test_mfu_leaves_out_what_is_computed_again() -> None:
    it = found()
    it.updated("editor", stats(10.0), Flops(matrices=2e15, attention=0.2e15), ADAPTER)
    update = it.updates["editor"]
    assert update.tflop == pytest.approx(2 * 2000 + 3 * 200)
    assert update.mfu == pytest.approx(4600 / 10_000)
    assert update.hfu == pytest.approx((4600 + 2200) / 10_000)
    assert (update.samples, update.mismatch) == (8, 0.01)


def test_what_is_to_be_reached_is_met_or_not() -> None:
    it = found()
    it.images_per_second[KONTEXT] = 0.50
    it.updated("editor", stats(10.0), Flops(2e15, 0.2e15), ADAPTER)
    it.updated("actor", stats(20.0), Flops(2e15, 0.2e15), ADAPTER)
    it.held("editor", 20 * GIB, 22 * GIB)
    it.phases.append(Memory("card: rollout", 40.0, 35.0))
    assert [(row.what.split(":")[0], row.met) for row in it.reach] == [
        ("images a second", True),
        ("MFU", True),
        ("MFU", False),
        ("plan off", True),
        ("plan off", False),
    ]
    assert [row.found for row in it.reach][-2:] == pytest.approx([0.1, -0.125])
    assert {row.met for row in found(size="small").reach} == {None}


def test_without_a_card_nothing_is_compared_with_one(tmp_path: Path) -> None:
    it = found(card=None, size="tiny")
    it.images_per_second[KONTEXT] = 3.0
    it.updated("editor", stats(10.0), Flops(2e15, 0.2e15), ADAPTER)
    it.held("editor", 0, 22 * GIB)
    it.sync["editor"] = Sync(0.1, 0.2, 30.0)
    it.seconds, it.switches = {"draw": 1.0, "editor leaves": 3.0}, {"editor leaves": [1.0, 2.0]}
    it.failed.append("round: TimeoutError: late")
    it.write(tmp_path / "round.json")
    read = json.loads((tmp_path / "round.json").read_text())
    assert (read["card"], read["updates"]["editor"]["mfu"], read["roles"][0]["held"]) == (None, None, None)
    assert read["roles"][0]["planned"] == 22
    assert {row["met"] for row in read["reach"]} == {None}
    console = Console(record=True, width=120)
    it.show(console)
    text = console.export_text()
    assert "editor leaves, 2 times" in text
    assert "1.500 s each" in text
    assert "failed: round: TimeoutError: late" in text
    assert "met" not in text
